// `logloom bench …`: what this broker does with load from this machine, over the SDK as applications use it.

import { cpus } from 'node:os'
import { type Client, connect } from '../../client/index.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { BenchOptions, LatencyOptions, SwitchOptions } from './bench-command.ts'
import { closedLoad, OpenLoad, quantile } from './bench-load.ts'
import { withBroker } from './broker-client.ts'
import { identity } from './identity.ts'
import { note, writeJson, writeText } from './output.ts'
import { onStopSignal } from './stop-signal.ts'
import { formatFields, formatTable } from './table.ts'

/** So that a run that is cut off leaves nothing for long. */
const retentionMs = 600_000
const progressEveryMs = 200
const barWidth = 30

export async function benchProduce(o: BenchOptions): Promise<void> {
  await withTopic(o, async clients => {
    const stop = new AbortController()
    const bar = new Bar(o.seconds, () => stop.abort())
    const begun = performance.now()
    const records = await closedLoad(clients, { topic: o.topic, bytes: o.size }, stop.signal, n =>
      bar.add(n),
    )
    const seconds = (performance.now() - begun) / 1000
    bar.end()
    await tell(o, {
      records,
      seconds: rounded(seconds),
      recordsPerSecond: Math.round(records / seconds),
      megabytesPerSecond: rounded((records * o.size) / seconds / 1e6),
    })
  })
}

export async function benchConsume(o: BenchOptions): Promise<void> {
  await withTopic(o, async clients => {
    const [client] = clients as [Client]
    const isEmpty = (await client.admin().describeTopic(o.topic)).partitions.every(
      ({ startOffset, endOffset }) => startOffset === endOffset,
    )
    if (isEmpty) {
      const fill = new AbortController()
      const bar = new Bar(o.seconds, () => fill.abort(), 'filling')
      await closedLoad(clients, { topic: o.topic, bytes: o.size }, fill.signal, n => bar.add(n))
      bar.end()
    }
    let records = 0
    let bytes = 0
    const begun = performance.now()
    const bar = new Bar(o.seconds, () => reading.abort(), 'reading')
    const reading = new AbortController()
    const read = async (reader: Client): Promise<void> => {
      const options = { from: 'beginning', until: 'end', as: 'bytes' } as const
      try {
        for await (const { value } of reader.read(o.topic, {
          ...options,
          signal: reading.signal,
        })) {
          records++
          bytes += value?.length ?? 0
          bar.add(1)
        }
      } catch (error) {
        if (!reading.signal.aborted) throw error
      }
    }
    // Each reads everything: what goes out grows with the readers.
    await Promise.all(clients.map(read))
    const seconds = (performance.now() - begun) / 1000
    bar.end()
    await tell(o, {
      readers: clients.length,
      records,
      seconds: rounded(seconds),
      recordsPerSecond: Math.round(records / seconds),
      megabytesPerSecond: rounded(bytes / seconds / 1e6),
    })
  })
}

export async function benchLatency(o: LatencyOptions): Promise<void> {
  await withTopic(o, async clients => {
    const load = new OpenLoad(clients, { topic: o.topic, bytes: o.size, rate: o.rate })
    const bar = new Bar(o.seconds, () => {})
    await bar.untilOver(() => load.samples.length)
    bar.end()
    await load.stop()
    const times = load.samples.map(({ ms }) => ms)
    await tell(o, {
      sent: load.sent,
      acked: times.length,
      errors: load.errors,
      p50Ms: quantile(times, 0.5),
      p90Ms: quantile(times, 0.9),
      p99Ms: quantile(times, 0.99),
      p999Ms: quantile(times, 0.999),
      maxMs: quantile(times, 1),
    })
    if (load.errors > 0) throw failed(load.errors)
  })
}

export async function benchSwitch(specs: readonly string[], o: SwitchOptions): Promise<void> {
  await withTopic(o, async clients => {
    const admin = (clients[0] as Client).admin()
    const before = (await admin.describeLog()).segments.at(-1)?.spec ?? ''
    const load = new OpenLoad(clients, { topic: o.topic, bytes: o.size, rate: o.rate })
    const held: { spec: string; from: number; pauseMs: number | null }[] = []
    const bar = new Bar(o.seconds * (specs.length + 2), () => {})
    const hold = async (spec: string, pauseMs: number | null): Promise<void> => {
      held.push({ spec, from: load.second, pauseMs })
      await bar.untilOver(() => load.samples.length, o.seconds)
    }
    try {
      await hold(before, null)
      for (const spec of specs)
        if (!bar.isStopped) await hold(spec, (await admin.switchLog(spec)).pauseMs)
    } finally {
      // Also when one of them failed: the log is to be as it was.
      if (held.length > 1) await hold(before, (await admin.switchLog(before)).pauseMs)
      bar.end()
      // Nothing is sent any more to a topic that is about to go.
      await load.stop()
    }
    const rows = held.map(({ spec, from, pauseMs }, i) => {
      const to = held[i + 1]?.from ?? load.second
      const times = load.samples
        .filter(({ at }) => at >= from * 1000 && at < to * 1000)
        .map(({ ms }) => ms)
      return { spec, pauseMs, p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99) }
    })
    const total = { sent: load.sent, acked: load.samples.length, errors: load.errors }
    if (o.format === 'json') await writeJson({ ...machine(o), ...total, protocols: rows })
    else {
      const cells = rows.map(r => [r.spec, r.pauseMs, r.p50Ms, r.p99Ms])
      await writeText(formatTable(['PROTOCOL', 'PAUSE-MS', 'P50-MS', 'P99-MS'], cells))
      await writeText(`\n${formatFields({ ...machine(o), ...total })}`)
    }
    if (load.errors > 0) throw failed(load.errors)
  })
}

/** Connects as often as asked for; makes the topic, and deletes it again if it was not there. */
async function withTopic(
  o: BenchOptions,
  work: (clients: readonly Client[]) => Promise<void>,
): Promise<void> {
  await withBroker(o.url, async first => {
    const { topic, partitions, keep } = o
    const config = { 'retention.ms': String(retentionMs) }
    const { created } = await first
      .admin()
      .createTopic({ topic, partitions, config }, { ifNotExists: true })
    const others = await Promise.all(
      Array.from({ length: o.clients - 1 }, () =>
        connect(o.url, { clientId: 'logloom-bench', ...identity() }),
      ),
    )
    try {
      await work([first, ...others])
    } finally {
      await Promise.all(others.map(client => client.close()))
      if (created && keep !== true) await first.admin().deleteTopic(topic)
    }
  })
}

function machine({ size, clients }: BenchOptions): Record<string, string | number> {
  const [cpu] = cpus()
  return {
    cpu: `${cpus().length} x ${cpu?.model.trim() ?? '?'}`,
    node: process.version,
    size,
    clients,
  }
}

async function tell(o: BenchOptions, result: Readonly<Record<string, number>>): Promise<void> {
  const all = { ...machine(o), ...result }
  if (o.format === 'json') await writeJson(all)
  else await writeText(formatFields(all))
}

function failed(errors: number): LogloomError {
  return new LogloomError('INTERNAL', `${errors} records were not acked`, { errors })
}

const rounded = (value: number): number => Math.round(value * 10) / 10

/** On stderr, if that is a terminal; ends by itself when the time is over or somebody says stop. */
class Bar {
  isStopped = false
  private readonly begun = performance.now()
  private readonly seconds: number
  private readonly word: string
  private readonly timer: ReturnType<typeof setInterval>
  private readonly release: () => void
  private readonly onOver: () => void
  private records = 0

  constructor(seconds: number, onOver: () => void, word = 'running') {
    this.seconds = seconds
    this.onOver = onOver
    this.word = word
    this.timer = setInterval(() => this.show(), progressEveryMs)
    this.release = onStopSignal(() => {
      this.isStopped = true
      onOver()
    })
  }

  add(records: number): void {
    this.records += records
  }

  /** Resolves after `seconds` (of the whole, unless told otherwise), or when somebody says stop. */
  async untilOver(records: () => number, seconds = this.seconds): Promise<void> {
    const end = performance.now() + seconds * 1000
    while (performance.now() < end && !this.isStopped) {
      await new Promise(resolve => setTimeout(resolve, 50))
      this.records = records()
    }
  }

  end(): void {
    clearInterval(this.timer)
    this.release()
    if (process.stderr.isTTY) note('\r\u001b[K')
  }

  private show(): void {
    const passed = (performance.now() - this.begun) / 1000
    if (passed >= this.seconds) this.onOver()
    if (!process.stderr.isTTY) return
    const share = Math.min(1, passed / this.seconds)
    const filled = Math.round(share * barWidth)
    const bar = `${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}`
    const rate = Math.round(this.records / Math.max(passed, 0.001))
    note(`\r\u001b[K${this.word} [${bar}] ${this.records} records, ${rate}/s`)
  }
}

// Row 18: twice the load that the broker can bear. What it can bear is measured in the same run, before and after: so many requests in flight on
// many connections that the disk has groups of any size to sync, and the best of those. Then requests come at twice that rate, or at twice
// what is answered if that is more, whatever becomes of them (an open loop), and nobody tries again.
//
//   peak ── calm (half) ──┬── overload (2 ×) ── peak ──┬── calm again ── everything that was acked is read, and nothing else
//                         └── in the short form twice  ┘
//
// The disk is made slow (strace holds up every sync), so that it is the limit and not the processor, which the broker shares with the load.

import { join } from 'node:path'
import { decodeBatch, encodeBatch, type Frame, LogloomError } from '../../wire/index.ts'
import type { RequestChannel } from '../../wire/index.ts'
import { startBrokerProcess, withDirectory } from '../acceptance/broker-process.ts'
import { memoryOf } from '../acceptance/bounded.ts'
import { latencyOf, openChannel } from '../acceptance/measure.ts'
import { scrape, valueOf } from '../metrics-page.ts'
import { hasStrace, slowDisk, slowLog } from './slow-disk.ts'
import { type Suite, suiteMain } from './suite.ts'

const mib = 1 << 20
const valueBytes = 4000
const partitions = 8
const connections = 100
const budgetBytes = 256 * mib
const tickMs = 5
/** Closed loops: so many requests are always under way. More of them make larger groups, until the broker turns some away. */
const peakInFlights = [400, 800, 1600]
/** One of a share of the peak that holds while nothing is wrong. */
const calmShare = 0.5

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

interface Phase {
  readonly ackedPerSecond: number
  readonly offered: number
  readonly acked: number
  readonly refused: number
  readonly latencies: readonly number[]
  /** Seconds after the beginning until a window of half a second was as in calm. */
  readonly calmAfter?: number
}

/** Requests with a number each, and what became of them. */
class Load {
  readonly acked = new Set<number>()
  readonly refused = new Set<number>()
  unknown = 0
  private next = 0
  private readonly channels: readonly RequestChannel[]

  constructor(channels: readonly RequestChannel[]) {
    this.channels = channels
  }

  /** @returns how long the ack took, or undefined when it was refused */
  async send(): Promise<number | undefined> {
    const n = this.next++
    const channel = this.channels[n % this.channels.length] as RequestChannel
    const value = String(n).padEnd(valueBytes, '.')
    const batch = encodeBatch([{ value }], { now: Date.now() })
    const begun = performance.now()
    try {
      await channel.request('produce', { topic: 'load', partition: n % partitions, batch })
      this.acked.add(n)
      return performance.now() - begun
    } catch (error) {
      if (error instanceof LogloomError && error.code === 'THROTTLED') this.refused.add(n)
      else this.unknown++
      return undefined
    }
  }

  /** As much as possible, with any number in flight, each for a while. */
  async peak(seconds: number): Promise<Phase> {
    let best: Phase | undefined
    for (const inFlight of peakInFlights) {
      const phase = await this.closed(seconds, inFlight)
      if (best === undefined || phase.ackedPerSecond > best.ackedPerSecond) best = phase
    }
    return best as Phase
  }

  private async closed(seconds: number, inFlight: number): Promise<Phase> {
    const latencies: number[] = []
    const begun = performance.now()
    const until = begun + seconds * 1000
    const before = [this.acked.size, this.refused.size] as const
    const lane = async (): Promise<void> => {
      while (performance.now() < until) {
        const ms = await this.send()
        if (ms === undefined) await sleep(20)
        else latencies.push(ms)
      }
    }
    await Promise.all(Array.from({ length: inFlight }, lane))
    const took = (performance.now() - begun) / 1000
    const acked = this.acked.size - before[0]
    const refused = this.refused.size - before[1]
    return { ackedPerSecond: acked / took, offered: acked + refused, acked, refused, latencies }
  }

  /** `rate` requests per second, `factor` times what is answered at least, come what may. `isCalm`: of the acks and refusals of half a second. */
  async open(
    rate: number,
    seconds: number,
    factor = 0,
    isCalm?: (latencies: readonly number[], refused: number) => boolean,
  ): Promise<Phase> {
    const latencies: number[] = []
    const underWay: Promise<void>[] = []
    const begun = performance.now()
    const before = this.refused.size
    let offered = 0
    let acked = 0
    let calmAfter: number | undefined
    let window = { from: begun, latencies: [] as number[], refused: before }
    let due = 0
    let last = begun
    // What comes first waits for nothing, and is answered late: goodput is counted from here on.
    const rampMs = Math.min(1000, seconds * 250)
    let ackedInRamp = 0
    for (let now = begun; now < begun + seconds * 1000; now = performance.now()) {
      if (now - begun < rampMs) ackedInRamp = acked
      const answered = now === begun ? 0 : (acked * 1000) / (now - begun)
      due += (Math.max(rate, factor * answered) * (now - last)) / 1000
      last = now
      for (; offered < due; offered++)
        underWay.push(
          this.send().then(ms => {
            if (ms === undefined) return
            acked++
            latencies.push(ms)
            window.latencies.push(ms)
          }),
        )
      if (isCalm !== undefined && calmAfter === undefined && now - window.from > 500) {
        if (isCalm(window.latencies, this.refused.size - window.refused))
          calmAfter = (now - begun) / 1000
        if (calmAfter !== undefined) break
        window = { from: now, latencies: [], refused: this.refused.size }
      }
      await sleep(tickMs)
    }
    // Goodput is what is answered while the load is there.
    const ackedPerSecond = ((acked - ackedInRamp) * 1000) / (performance.now() - begun - rampMs)
    await Promise.all(underWay)
    return {
      ackedPerSecond,
      offered,
      acked,
      refused: this.refused.size - before,
      latencies,
      ...(calmAfter === undefined ? {} : { calmAfter }),
    }
  }
}

/** Numbers of all records, how often each is there. */
async function readAll(channel: RequestChannel): Promise<Map<number, number>> {
  const found = new Map<number, number>()
  for (let partition = 0; partition < partitions; partition++)
    for (let from = 0, end = 1; from < end; ) {
      const fields = { topic: 'load', partition, from, maxBytes: 4 * mib, maxWaitMs: 0 }
      const reply = await channel.request('fetch', fields)
      for (const item of reply['items'] as Frame[])
        for (const { value } of await decodeBatch(item['batch'] as Uint8Array)) {
          const n = Number.parseInt(new TextDecoder().decode(value ?? undefined), 10)
          found.set(n, (found.get(n) ?? 0) + 1)
        }
      from = Number(reply['next'])
      end = Number(reply['end'])
    }
  return found
}

export const run: Suite = ({ form, seconds = form === 'short' ? 6 : 600 }) =>
  withDirectory(async directory => {
    const begun = performance.now()
    const broker = await startBrokerProcess({
      data: join(directory, 'data'),
      wrapper: slowDisk,
      args: [...slowLog, `--memory-budget-bytes=${budgetBytes}`],
    })
    const channels = await Promise.all(
      Array.from({ length: connections }, () => openChannel(broker.url)),
    )
    const admin = await openChannel(broker.url)
    await admin.request('createTopic', { topic: 'load', partitions })
    const load = new Load(channels)
    const part = form === 'short' ? 1.2 : 15
    // The code gets warm, and the broker learns its rate.
    await load.peak(part / 3)
    const first = await load.peak(part)
    const calm = await load.open(first.ackedPerSecond * calmShare, part)
    const usual = latencyOf(calm.latencies)
    const before = await memoryOf(broker.pid)
    let rssMb = 0
    const sampler = setInterval(() => {
      void memoryOf(broker.pid).then(m => {
        rssMb = Math.max(rssMb, m.rssMb)
      })
    }, 250)
    const rounds = form === 'short' ? 2 : 1
    const peaks = [first]
    const overs: Phase[] = []
    for (let round = 0; round < rounds; round++) {
      const rate = 2 * (peaks.at(-1) as Phase).ackedPerSecond
      overs.push(await load.open(rate, seconds / rounds, 2))
      peaks.push(await load.peak(part))
    }
    clearInterval(sampler)
    const isCalm = (latencies: readonly number[], refused: number): boolean =>
      refused === 0 && latencies.length > 0 && latencyOf(latencies).p50Ms <= 2 * usual.p50Ms + 20
    const after = await load.open(
      first.ackedPerSecond * calmShare,
      form === 'short' ? 6 : 15,
      0,
      isCalm,
    )
    const page = await scrape(broker)
    const found = await readAll(admin)
    for (const channel of [...channels, admin]) channel.close()
    const exit = await broker.kill('SIGTERM')
    const mean = (of: readonly Phase[]): number =>
      of.reduce((sum, { ackedPerSecond }) => sum + ackedPerSecond, 0) / of.length
    const total = (of: readonly Phase[], key: 'offered' | 'acked' | 'refused'): number =>
      of.reduce((sum, phase) => sum + phase[key], 0)
    const peak = mean(peaks)
    const goodput = mean(overs)
    const beyond = latencyOf(overs.flatMap(({ latencies }) => latencies))
    const counts = {
      attempted: load.acked.size + load.refused.size + load.unknown,
      acked: load.acked.size,
      refused: load.refused.size,
      unknown: load.unknown,
      read: [...found.values()].reduce((sum, n) => sum + n, 0),
      lost: [...load.acked].filter(n => !found.has(n)).length,
      duplicate: [...found.values()].filter(n => n > 1).length,
      /** Refused, and there all the same. */
      traces: [...load.refused].filter(n => found.has(n)).length,
      offeredBeyond: total(overs, 'offered'),
      refusedBeyond: total(overs, 'refused'),
      shedForQueue: valueOf(page, 'logloom_shed_total{reason="queue"}'),
      shedForMemory: valueOf(page, 'logloom_shed_total{reason="memory"}'),
    }
    const figures = {
      peakPerSecond: Math.round(peak),
      goodputPerSecond: Math.round(goodput),
      goodputRatio: Number((goodput / peak).toFixed(3)),
      offeredRatio: Number((total(overs, 'offered') / seconds / peak).toFixed(2)),
      calmP50Ms: usual.p50Ms,
      calmP99Ms: usual.p99Ms,
      overloadP50Ms: beyond.p50Ms,
      overloadP99Ms: beyond.p99Ms,
      recoverySeconds: Number((after.calmAfter ?? Number.NaN).toFixed(1)),
      rssGrowthMiB: Math.round(rssMb - before.rssMb),
    }
    const wrong = [
      counts.lost > 0 && `${counts.lost} acked records are lost`,
      counts.duplicate > 0 && `${counts.duplicate} records are there twice`,
      counts.traces > 0 && `${counts.traces} refused records are there`,
      counts.unknown > 0 && `${counts.unknown} requests ended without a known outcome`,
      counts.refusedBeyond === 0 && 'nothing was refused: that was no overload',
      // On a machine with other work two short phases differ by themselves.
      figures.goodputRatio < (form === 'short' ? 0.25 : 0.9) && `goodput ${figures.goodputRatio}`,
      !(figures.recoverySeconds <= 10) && 'not as before within 10 s',
      figures.rssGrowthMiB > 512 && `memory grew by ${figures.rssGrowthMiB} MiB`,
      exit !== 0 && `exit code ${exit}`,
    ].filter(Boolean)
    const noStrace = hasStrace ? {} : { notes: 'without strace the disk was as fast as it is' }
    return {
      row: 18,
      name: 'overload',
      command: `node dist/test/reliability/overload.js${form === 'short' ? ' --short' : ''} --seconds ${seconds}`,
      seconds: Math.round((performance.now() - begun) / 1000),
      counts,
      figures,
      passed: wrong.length === 0,
      ...(wrong.length === 0 ? noStrace : { notes: wrong.join('; ') }),
    }
  })

await suiteMain(import.meta.url, run)

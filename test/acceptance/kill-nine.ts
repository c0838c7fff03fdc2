// kill -9 at random moments while three idempotent producers run and retry: afterwards every acked record is there once, in order per
// producer and partition, and nothing was read that was never sent. Usage: node kill-nine.js [KILLS=50]

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { connect } from '../../client/index.ts'
import {
  type BrokerProcess,
  freePort,
  startBrokerProcess,
  withDirectory,
} from './broker-process.ts'

export interface KillReport {
  readonly kills: number
  readonly attempted: number
  readonly acked: number
  readonly read: number
  readonly lost: number
  readonly duplicate: number
  readonly outOfOrder: number
  readonly phantom: number
  readonly failedSends: number
  readonly restartsMs: { readonly median: number; readonly max: number }
}

const producers = 3
const partitions = 4

export function killNine(kills: number, args: readonly string[] = []): Promise<KillReport> {
  return withDirectory(async directory => {
    const port = await freePort()
    const start = (): Promise<BrokerProcess> =>
      startBrokerProcess({ data: join(directory, 'data'), port, args })
    let broker = await start()
    const { url } = broker
    const admin = await connect(url)
    await admin.admin().createTopic({ topic: 'kills', partitions })
    await admin.close()
    const stop = new AbortController()
    const writers = Array.from({ length: producers }, (_, id) => produceUntil(url, id, stop.signal))
    const restarts: number[] = []
    for (let kill = 0; kill < kills; kill++) {
      await new Promise(resolve => setTimeout(resolve, 30 + Math.random() * 400))
      await broker.kill('SIGKILL')
      const started = performance.now()
      broker = await start()
      restarts.push(performance.now() - started)
    }
    stop.abort()
    const written = await Promise.all(writers)
    const report = await check(url, written)
    await broker.kill('SIGTERM')
    restarts.sort((a, b) => a - b)
    return {
      kills,
      ...report,
      restartsMs: {
        median: Math.round(restarts[restarts.length >> 1] ?? 0),
        max: Math.round(restarts.at(-1) ?? 0),
      },
    }
  })
}

interface Written {
  readonly producer: number
  readonly attempted: number
  readonly acked: Set<number>
  readonly failed: number
}

/** Sends numbered records until told to stop, up to 200 unanswered at a time. */
async function produceUntil(
  url: string,
  producerNumber: number,
  signal: AbortSignal,
): Promise<Written> {
  const client = await connect(url)
  const producer = client.producer({ lingerMs: 1, deliveryTimeoutMs: 120_000 })
  const acked = new Set<number>()
  const pending = new Set<Promise<void>>()
  let failed = 0
  let n = 0
  while (!signal.aborted) {
    const seq = n++
    const sent = producer
      .send(
        'kills',
        { key: null, value: `${producerNumber}:${seq}` },
        { partition: seq % partitions },
      )
      .then(
        () => {
          acked.add(seq)
        },
        () => {
          failed++
        },
      )
      .finally(() => pending.delete(sent))
    pending.add(sent)
    if (pending.size >= 200) await Promise.race(pending)
  }
  await Promise.all(pending)
  await client.close()
  return { producer: producerNumber, attempted: n, acked, failed }
}

async function check(
  url: string,
  written: readonly Written[],
): Promise<Omit<KillReport, 'kills' | 'restartsMs'>> {
  const client = await connect(url)
  const seen = written.map(() => new Map<number, number>())
  const last = new Map<string, number>()
  let outOfOrder = 0
  let phantom = 0
  let read = 0
  for await (const record of client.read('kills', {
    from: 'beginning',
    until: 'end',
    as: 'text',
  })) {
    read++
    const [producer = -1, seq = -1] = String(record.value).split(':').map(Number)
    const lane = `${producer}/${record.partition}`
    if (seq <= (last.get(lane) ?? -1)) outOfOrder++
    last.set(lane, seq)
    const counts = seen[producer]
    if (counts === undefined || seq >= (written[producer]?.attempted ?? 0)) phantom++
    else counts.set(seq, (counts.get(seq) ?? 0) + 1)
  }
  await client.close()
  let lost = 0
  let duplicate = 0
  for (const { producer, acked } of written) {
    const counts = seen[producer] as Map<number, number>
    for (const seq of acked) if (!counts.has(seq)) lost++
    for (const count of counts.values()) if (count > 1) duplicate++
  }
  return {
    attempted: sum(written.map(w => w.attempted)),
    acked: sum(written.map(w => w.acked.size)),
    failedSends: sum(written.map(w => w.failed)),
    read,
    lost,
    duplicate,
    outOfOrder,
    phantom,
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const report = await killNine(Number(process.argv[2] ?? 50), process.argv.slice(3))
  console.log(JSON.stringify(report, undefined, 1))
  const bad =
    report.lost + report.duplicate + report.outOfOrder + report.phantom + report.failedSends
  process.exitCode = bad === 0 ? 0 : 1
}

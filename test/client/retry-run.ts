// One run of a producer under a plan of faults, on one broker or on several of one log, and what has to be true of it.

import { expect } from 'vitest'
import { type Ack, connect } from '../../client/index.ts'
import { decodeBatchSync, type Frame, LogloomError } from '../../wire/index.ts'
import { FakeBroker, type Fault } from './fake-broker.ts'

const partitions = 2
export const faults = {
  serve: () => 'serve',
  dropBefore: () => 'dropBefore',
  dropAfter: () => 'dropAfter',
  late: () => 'late',
  unknown: () => 'unknown',
  copy: () => 'copy',
  throttled: () => new LogloomError('THROTTLED', 'later'),
  shuttingDown: () => new LogloomError('SHUTTING_DOWN', 'elsewhere'),
  silent: () => 'silent',
  refused: () => new LogloomError('MESSAGE_TOO_LARGE', 'too large'),
} as const satisfies Record<string, () => Fault>

export type FaultName = keyof typeof faults

interface Sent {
  readonly partition: number
  readonly index: number
  readonly ack?: Ack
  readonly error?: LogloomError
}

export interface RunOptions {
  readonly batchSize: number
  /** Send every third record as an atomic batch. */
  readonly atomic?: boolean
  readonly deliveryTimeoutMs?: number
  /** Of one log; default 1. */
  readonly brokers?: number
}

/** `away`, besides: the broker ends all its connections and listens no more, until the next one goes away. */
export async function run(plan: readonly (FaultName | 'away')[], records: number, o: RunOptions) {
  const { brokers: count = 1, ...producerOptions } = o
  const broker = await FakeBroker.start()
  const { log } = broker
  const brokers = [broker]
  while (brokers.length < count) brokers.push(await FakeBroker.start(0, log))
  const ports = brokers.map(one => one.port)
  let away: { readonly of: FakeBroker; readonly gone: Promise<void> } | undefined
  /** One at a time: whoever was away before comes back first. */
  const leave = async (one: FakeBroker): Promise<void> => {
    const back = away
    if (back?.of === one) return
    away = { of: one, gone: one.stop() }
    await back?.gone
    await back?.of.listen(ports[brokers.indexOf(back.of)] as number)
  }
  log.create('t', partitions)
  let at = 0
  const planOf = (one: FakeBroker) => (op: string, frame: Frame) => {
    const name = plan[at++] ?? 'serve'
    if (name === 'away') {
      void leave(one)
      return 'dropBefore'
    }
    const fault = faults[name]()
    // Only what carries records may be refused for good; the rest of the plan is about losing and delaying.
    const refusal = fault instanceof LogloomError && !fault.retriable
    if (refusal && !('batch' in frame) && !('batches' in frame)) return 'serve'
    // A copy of what carries no identity would be a second request.
    if (fault === 'copy' && op !== 'produce' && op !== 'publish') return 'dropBefore'
    return fault
  }
  for (const one of brokers) one.plan = planOf(one)
  const urls = brokers.map(one => one.url)
  const client = await connect(urls, { retryBackoffMs: 1, retryBackoffMaxMs: 5 })
  const producer = client.producer({ lingerMs: 0, ...producerOptions })
  const sent: Promise<Sent>[] = []
  for (let i = 0; i < records; i++) {
    const partition = i % partitions
    const value = String(i)
    const acked: Promise<Ack> =
      o.atomic && i % 3 === 0
        ? producer
            .sendBatch([{ topic: 't', partition, value }], { atomic: true })
            .then(all => all[0] as Ack)
        : producer.enqueue('t', { value }, { partition }).acked
    sent.push(
      acked.then(
        ack => ({ partition, index: i, ack }),
        (error: LogloomError) => ({ partition, index: i, error }),
      ),
    )
    if (i % 7 === 6) await producer.flush()
  }
  const results = await Promise.all(sent)
  await client.close()
  const stored = Array.from({ length: partitions }, (_, partition) => {
    const values: number[] = []
    for (const item of log.partition('t', partition).items) {
      if (!('batch' in item)) continue
      for (const { value } of decodeBatchSync(item.batch))
        values.push(Number(new TextDecoder().decode(value ?? undefined)))
    }
    return values
  })
  await away?.gone
  for (const one of brokers) if (one !== away?.of) await one.stop()
  return { results, stored }
}

export function check({ results, stored }: Awaited<ReturnType<typeof run>>): void {
  const acked = new Set<number>()
  for (const { partition, index, ack, error } of results) {
    const places = (stored[partition] ?? []).filter(value => value === index).length
    if (ack) {
      acked.add(index)
      expect(stored[partition]?.[ack.offset], `record ${index} at its acked offset`).toBe(index)
      expect(places, `copies of acked record ${index}`).toBe(1)
    } else {
      expect(['MESSAGE_TOO_LARGE', 'OUTCOME_UNKNOWN', 'TIMEOUT']).toContain(error?.code)
      const refused =
        error?.code === 'MESSAGE_TOO_LARGE' || error?.details['outcome'] === 'not-written'
      if (refused) expect(places, `traces of refused record ${index}`).toBe(0)
      expect(places).toBeLessThanOrEqual(1)
    }
  }
  for (const values of stored) {
    const kept = values.filter(value => acked.has(value))
    expect(kept).toEqual(kept.toSorted((a, b) => a - b))
  }
}

// Whatever happens to connections and answers, an acked record is written once and in order.

import { array, assert, asyncProperty, constantFrom, integer } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Ack, connect } from '../../client/index.ts'
import { decodeBatchSync, LogloomError } from '../../wire/index.ts'
import { FakeBroker, type Fault } from './fake-broker.ts'

const partitions = 2
const faults = {
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

type FaultName = keyof typeof faults

interface Sent {
  readonly partition: number
  readonly index: number
  readonly ack?: Ack
  readonly error?: LogloomError
}

interface RunOptions {
  readonly batchSize: number
  /** Send every third record as an atomic batch. */
  readonly atomic?: boolean
  readonly deliveryTimeoutMs?: number
}

async function run(plan: readonly FaultName[], records: number, o: RunOptions) {
  const broker = await FakeBroker.start()
  broker.log.create('t', partitions)
  let at = 0
  broker.plan = (op, frame) => {
    const fault = faults[plan[at++] ?? 'serve']()
    // Only what carries records may be refused for good; the rest of the plan is about losing and delaying.
    const refusal = fault instanceof LogloomError && !fault.retriable
    if (refusal && !('batch' in frame) && !('batches' in frame)) return 'serve'
    // A copy of what carries no identity would be a second request.
    if (fault === 'copy' && op !== 'produce' && op !== 'publish') return 'dropBefore'
    return fault
  }
  const client = await connect(broker.url, { retryBackoffMs: 1, retryBackoffMaxMs: 5 })
  const producer = client.producer({ lingerMs: 0, ...o })
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
    for (const item of broker.log.partition('t', partition).items) {
      if (!('batch' in item)) continue
      for (const { value } of decodeBatchSync(item.batch))
        values.push(Number(new TextDecoder().decode(value ?? undefined)))
    }
    return values
  })
  await broker.stop()
  return { results, stored }
}

function check({ results, stored }: Awaited<ReturnType<typeof run>>): void {
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

const names = Object.keys(faults) as FaultName[]
const losing = names.filter(name => name !== 'refused' && name !== 'silent')

describe('retries', () => {
  it('never duplicate nor reorder under any plan of losses, delays and late copies', async () => {
    await assert(
      asyncProperty(
        array(constantFrom(...losing), { maxLength: 40 }),
        integer({ min: 1, max: 40 }),
        constantFrom(1, 120, 16_384),
        async (plan, records, batchSize) => {
          const outcome = await run(plan, records, { batchSize })
          check(outcome)
          // Nothing was refused for good, so everything arrives.
          expect(outcome.results.filter(result => result.error)).toEqual([])
        },
      ),
      { numRuns: 80 },
    )
  })

  it('keep their promises also when some batches are refused before a decision', async () => {
    await assert(
      asyncProperty(
        array(constantFrom(...losing, 'refused' as const), { maxLength: 40 }),
        integer({ min: 1, max: 40 }),
        constantFrom(1, 120),
        async (plan, records, batchSize) => check(await run(plan, records, { batchSize })),
      ),
      { numRuns: 80 },
    )
  })

  it('keep their promises also when deadlines pass in between', async () => {
    await assert(
      asyncProperty(
        array(constantFrom(...names), { maxLength: 40 }),
        integer({ min: 1, max: 30 }),
        integer({ min: 1, max: 30 }),
        async (plan, records, deliveryTimeoutMs) => {
          check(await run(plan, records, { batchSize: 1, deliveryTimeoutMs }))
        },
      ),
      { numRuns: 60 },
    )
  })

  it('write every atomic batch once', async () => {
    await assert(
      asyncProperty(
        array(constantFrom(...losing), { maxLength: 30 }),
        integer({ min: 1, max: 24 }),
        async (plan, records) => {
          const { results, stored } = await run(plan, records, { batchSize: 1, atomic: true })
          expect(results.filter(result => result.error)).toEqual([])
          expect(stored.flat().toSorted((a, b) => a - b)).toEqual(
            results.map(result => result.index),
          )
        },
      ),
      { numRuns: 30 },
    )
  })

  it('resolve requests that are never answered by asking again', async () => {
    const broker = await FakeBroker.start()
    let produced = 0
    broker.plan = op => (op === 'produce' && ++produced % 3 === 1 ? 'silent' : 'serve')
    const client = await connect(broker.url, { requestTimeoutMs: 20, retryBackoffMs: 1 })
    const producer = client.producer({ batchSize: 1 })
    const tickets = Array.from({ length: 12 }, (_, i) => producer.enqueue('t', { value: `${i}` }))
    const acks = await Promise.all(tickets.map(ticket => ticket.acked))
    expect(acks.map(ack => ack.offset)).toEqual(acks.map((_, i) => i))
    expect(broker.log.partition('t', 0).end).toBe(12)
    await client.close()
    await broker.stop()
  })
})

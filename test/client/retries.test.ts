// Whatever happens to connections and answers, an acked record is written once and in order.

import { array, assert, asyncProperty, constantFrom, integer } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { connect } from '../../client/index.ts'
import { FakeBroker } from './fake-broker.ts'
import { check, type FaultName, faults, run } from './retry-run.ts'

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

// A client with several brokers of one log: whichever of them goes away, and whatever happens to connections and answers meanwhile, an acked
// record is written once and in order, and a reader gets everything once.

import { array, assert, asyncProperty, constantFrom, integer } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { connect } from '../../client/index.ts'
import { FakeBroker } from './fake-broker.ts'
import { check, type FaultName, faults, run } from './retry-run.ts'

const losing = (Object.keys(faults) as FaultName[]).filter(
  name => name !== 'refused' && name !== 'silent',
)

describe('failover', () => {
  it('never duplicates nor reorders under any plan of losses and of brokers that go away', async () => {
    await assert(
      asyncProperty(
        array(constantFrom(...losing, 'away' as const, 'away' as const), { maxLength: 40 }),
        integer({ min: 1, max: 40 }),
        constantFrom(1, 120, 16_384),
        integer({ min: 2, max: 3 }),
        async (plan, records, batchSize, brokers) => {
          const outcome = await run(plan, records, { batchSize, brokers })
          check(outcome)
          expect(outcome.results.filter(result => result.error)).toEqual([])
        },
      ),
      { numRuns: 80 },
    )
  })

  it('writes every atomic batch once', async () => {
    await assert(
      asyncProperty(
        array(constantFrom(...losing, 'away' as const, 'away' as const), { maxLength: 30 }),
        integer({ min: 1, max: 24 }),
        async (plan, records) => {
          const options = { batchSize: 1, atomic: true, brokers: 2 }
          const { results, stored } = await run(plan, records, options)
          expect(results.filter(result => result.error)).toEqual([])
          expect(stored.flat().toSorted((a, b) => a - b)).toEqual(results.map(({ index }) => index))
        },
      ),
      { numRuns: 30 },
    )
  })

  it('goes on reading where it was, at another broker', async () => {
    await assert(
      asyncProperty(
        array(integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }),
        async steps => {
          const first = await FakeBroker.start()
          const second = await FakeBroker.start(0, first.log)
          first.log.create('t', 1)
          const urls = [first.url, second.url]
          const client = await connect(urls, { retryBackoffMs: 1, retryBackoffMaxMs: 5 })
          const producer = client.producer({ batchSize: 1, lingerMs: 0 })
          const total = steps.reduce((sum, step) => sum + step, 0)
          const records = client.read('t', { from: 'beginning' })[Symbol.asyncIterator]()
          let written = 0
          let seen = 0
          for (const step of steps) {
            for (let i = 0; i < step; i++) producer.enqueue('t', { value: `${written++}` })
            await producer.flush()
            // In the middle of what is there to be read, whichever broker has the subscription goes.
            for (let i = 0; i < Math.ceil(step / 2); i++) {
              const { value } = await records.next()
              expect(value?.value).toBe(`${seen++}`)
            }
            ;(first.peers > 0 ? first : second).disconnect()
          }
          while (seen < total) {
            const { value } = await records.next()
            expect(value?.value).toBe(`${seen++}`)
          }
          await client.close()
          await Promise.all([first.stop(), second.stop()])
        },
      ),
      { numRuns: 30 },
    )
  })
})

// Walks of large bodies take turns: others get on meanwhile, and each walk sees all of its body in order.

import { describe, expect, it } from 'vitest'
import { encodeBatch, findKeyless, readBatchHeader, walkBatch } from '../../wire/batch.ts'
import { wireLimits } from '../../wire/limits.ts'
import { scanPieceBytes, scanTurnMsMax, walkInTurns } from '../../wire/scan-turns.ts'

const walks = 8
const count = Math.min(100_000, wireLimits.batchElementsMax)

/** The longest time for which the event loop did not come round while `work` went on, and how long that was in all, ms. */
async function longestRound(work: () => Promise<unknown>): Promise<{ round: number; all: number }> {
  const begun = performance.now()
  const done = new AbortController()
  let round = 0
  const watch = (async () => {
    for (let before = performance.now(); !done.signal.aborted; ) {
      await new Promise(resolve => setImmediate(resolve))
      const now = performance.now()
      round = Math.max(round, now - before)
      before = now
    }
  })()
  await work()
  done.abort()
  await watch
  return { round, all: performance.now() - begun }
}

describe('walks of large bodies', () => {
  it('see every byte, in order, each its own', async () => {
    const bodies = Array.from({ length: walks }, (_, i) =>
      Uint8Array.from({ length: 10 * scanPieceBytes + i }, (_, at) => (at * 7 + i) & 255),
    )
    const seen = bodies.map((): Uint8Array[] => [])
    await Promise.all(
      bodies.map((body, i) => walkInTurns(body, piece => void seen[i]?.push(piece.slice()))),
    )
    expect(seen.map(pieces => Buffer.concat(pieces))).toEqual(bodies.map(body => Buffer.from(body)))
  })

  it('end with what they throw', async () => {
    const fails = (): never => {
      throw new Error('not this one')
    }
    await expect(walkInTurns(new Uint8Array(1), fails)).rejects.toThrow('not this one')
    await expect(walkInTurns(new Uint8Array(1), () => {})).resolves.toBeUndefined()
  })

  it('get on, however many begin later', async () => {
    const spend = (): void => {
      for (const until = performance.now() + 2 * scanTurnMsMax; performance.now() < until; );
    }
    const body = new Uint8Array(4 * scanPieceBytes)
    const mine = { isDone: false }
    const begun = [walkInTurns(body, spend)]
    const first = walkInTurns(body, () => {}).then(() => {
      mine.isDone = true
    })
    let later = 0
    while (!mine.isDone && later < 200) {
      // In every round before those who wait.
      await new Promise(setImmediate)
      later++
      begun.push(walkInTurns(new Uint8Array(1), spend))
    }
    await first
    await Promise.all(begun)
    expect(later).toBeLessThan(200)
  })

  it('let the event loop come round, however many there are at once', async () => {
    const batch = encodeBatch(
      Array.from({ length: count }, () => ({ key: 'k', value: null })),
      { now: 1 },
    )
    const header = readBatchHeader(batch)
    let visited = 0
    const walk = { from: 0, recordBytesMax: 100, visit: () => ++visited > 0 }
    const many = (work: () => Promise<unknown>) => () =>
      Promise.all(Array.from({ length: walks }, work))
    const walked = await longestRound(many(() => walkBatch(batch, walk)))
    expect(visited).toBe(walks * count)
    const looked = await longestRound(many(() => findKeyless(batch, header)))
    for (const { round, all } of [walked, looked]) expect(round).toBeLessThan(all / 3)
  })
})

// The rule about time for targets that answer with a promise; the loop times only those that answer at once.

import { stopwatch } from './stopwatch.ts'
import { Finding } from './target.ts'

const floorMs = 50
const msPerMiBMax = 50
const tries = 5

/** Runs it, and again when it took long: the machine has other work, so only the fastest run counts. @throws Finding */
export async function inTime<T>(input: Uint8Array, run: () => T | Promise<T>): Promise<T> {
  const allowedMs = floorMs + (input.length / 2 ** 20) * msPerMiBMax
  let fastest = Number.POSITIVE_INFINITY
  for (let i = 0; ; i++) {
    const elapsed = stopwatch()
    const result = await run()
    fastest = Math.min(fastest, elapsed())
    if (fastest <= allowedMs) return result
    if (i + 1 === tries)
      throw new Finding(`${fastest.toFixed(1)} ms for ${input.length} bytes`, { input })
  }
}

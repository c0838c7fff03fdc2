// Time and randomness of the real world.

import { randomBytes } from 'node:crypto'
import type { Clock, Random } from './ports.ts'

export const nodeClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error)
        return
      }
      const abort = (): void => {
        clearTimeout(timer)
        reject(signal?.reason as Error)
      }
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }, ms)
      signal?.addEventListener('abort', abort, { once: true })
    }),
}

export const nodeRandom: Random = {
  next: () => Math.random(),
  hex: bytes => randomBytes(bytes).toString('hex'),
}

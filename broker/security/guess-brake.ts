// Slows down whoever tries many tokens: each failure of an address is answered later than the one before. Secrets of 256 bits are not guessed
// anyway; this keeps the noise down, and the times of the different failures alike. A right token is never delayed.

import { addressKey } from './address-key.ts'

const firstDelayMs = 100
const delayMsMax = 2000
const forgetMs = 60_000
/** Addresses remembered; the one that failed longest ago goes first. */
const guessAddressesMax = 4096

export class GuessBrake {
  private readonly failures = new Map<string, { count: number; at: number }>()
  private readonly now: () => number
  private readonly random: () => number

  constructor(now: () => number, random: () => number) {
    this.now = now
    this.random = random
  }

  /** Notes a failure. @returns how long its answer has to wait, ms */
  failed(address: string): number {
    const key = addressKey(address)
    const now = this.now()
    const known = this.failures.get(key)
    const count = known === undefined || now - known.at > forgetMs ? 1 : known.count + 1
    // Behind all others: a map keeps the order of insertion.
    this.failures.delete(key)
    this.failures.set(key, { count, at: now })
    if (this.failures.size > guessAddressesMax)
      for (const oldest of this.failures.keys()) {
        this.failures.delete(oldest)
        break
      }
    const longest = Math.min(delayMsMax, firstDelayMs * 2 ** Math.min(count - 1, 10))
    return longest * (0.5 + this.random() / 2)
  }

  get size(): number {
    return this.failures.size
  }
}

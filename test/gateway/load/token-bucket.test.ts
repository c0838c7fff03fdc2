// A rate that is paid for afterwards.

import { describe, expect, it } from 'vitest'
import { TokenBucket } from '../../../broker/gateway/load/token-bucket.ts'

describe('a token bucket', () => {
  it('gives a second’s worth at once, and asks for the rest to be waited for', () => {
    const bucket = new TokenBucket(100, 0)
    expect(bucket.take(100, 0)).toBe(0)
    expect(bucket.take(50, 0)).toBe(500)
    expect(bucket.debtMs(200)).toBe(300)
    expect(bucket.debtMs(500)).toBe(0)
  })

  it('keeps the average, whatever the pieces', () => {
    const bucket = new TokenBucket(1000, 0)
    let now = 0
    let taken = 0
    while (now < 100_000) {
      now += bucket.take(2500, now)
      taken += 2500
    }
    // A second's worth more than the rate, and the last piece.
    expect(taken / (now / 1000)).toBeGreaterThan(990)
    expect(taken - now).toBeLessThanOrEqual(1000 + 2500)
  })

  it('saves no more than a second’s worth, and survives a clock that stands still or goes back', () => {
    const bucket = new TokenBucket(10, 0)
    expect(bucket.take(20, 60_000)).toBe(1000)
    expect(bucket.take(10, 59_000)).toBe(2000)
  })

  it('keeps its debt when the rate changes, to be paid at the new one', () => {
    const bucket = new TokenBucket(10, 0)
    bucket.take(30, 0)
    bucket.setRate(40, 0)
    expect(bucket.debtMs(0)).toBe(500)
  })

  it('gives single tokens only while it has some', () => {
    const bucket = new TokenBucket(2, 0)
    expect([bucket.tryTake(0), bucket.tryTake(0), bucket.tryTake(0)]).toEqual([true, true, false])
    expect(bucket.tryTake(500)).toBe(true)
    expect(bucket.isFull(600)).toBe(false)
    expect(bucket.isFull(2000)).toBe(true)
  })
})

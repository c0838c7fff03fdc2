// Who waits in line: order, leaving, and what is left behind.

import { describe, expect, it } from 'vitest'
import { WaitingLine } from '../../client/waiting-line.ts'

describe('a waiting line', () => {
  it('takes those who wait in order of arrival, without those who left', () => {
    const line = new WaitingLine<{ n: number }>()
    const leave = Array.from({ length: 100 }, (_, n) => line.join({ n }))
    for (const [n, quit] of leave.entries()) if (n % 3 === 0) quit()
    expect(line.size).toBe(66)
    const taken: number[] = []
    for (let one = line.next(); one; one = line.next()) {
      taken.push(one.n)
      // Somebody comes meanwhile.
      if (one.n === 50) line.join({ n: 100 })
    }
    const stayed = Array.from({ length: 101 }, (_, n) => n).filter(n => n === 100 || n % 3 !== 0)
    expect(taken).toEqual(stayed)
    expect(line.size).toBe(0)
  })

  it('does not mind who leaves twice, or after the turn', () => {
    const line = new WaitingLine<{ n: number }>()
    const first = line.join({ n: 1 })
    const second = line.join({ n: 2 })
    expect(line.next()).toEqual({ n: 1 })
    first()
    second()
    second()
    expect(line.size).toBe(0)
    expect(line.next()).toBeUndefined()
  })
})

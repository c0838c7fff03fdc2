// Medians, quantiles, spreads, ratios and histograms.

import { array, assert, double, integer, property } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { histogramOf, medianOf, quantileOf, ratioOf, spreadOf } from '../../bench/stats.ts'
import { windowsOf } from '../../bench/switch/windows.ts'

const some = array(double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 })

describe('statistics', () => {
  it('take the middle value, or the mean of the two in the middle', () => {
    expect(medianOf([3, 1, 2])).toBe(2)
    expect(medianOf([4, 1, 3, 2])).toBe(2.5)
    expect(medianOf([7])).toBe(7)
    expect(medianOf([])).toBeNaN()
  })

  it('take the value of the nearest rank as a quantile', () => {
    const hundred = Array.from({ length: 100 }, (_, i) => i + 1)
    expect(quantileOf(hundred, 0.5)).toBe(50)
    expect(quantileOf(hundred, 0.99)).toBe(99)
    expect(quantileOf(hundred, 1)).toBe(100)
    expect(quantileOf([5], 0.99)).toBe(5)
    expect(quantileOf([], 0.5)).toBeNaN()
  })

  it('leave what they are given as it was', () => {
    const values = [3, 1, 2]
    medianOf(values)
    quantileOf(values, 0.5)
    spreadOf(values)
    expect(values).toEqual([3, 1, 2])
  })

  it('have a median between least and most', () => {
    assert(
      property(some, values => {
        const { min, median, max, n } = spreadOf(values)
        expect(n).toBe(values.length)
        expect(min).toBeLessThanOrEqual(median)
        expect(median).toBeLessThanOrEqual(max)
      }),
    )
  })

  it('refuse to make a spread of nothing', () => {
    expect(() => spreadOf([])).toThrow(RangeError)
  })

  it('compare round by round, so that a slow round favours nobody', () => {
    // The machine was three times as slow in the second round, for both.
    expect(ratioOf([20, 60, 20], [10, 30, 10])).toEqual({ median: 2, min: 2, max: 2, n: 3 })
    expect(() => ratioOf([1, 2], [1])).toThrow(RangeError)
  })

  it('put every value into exactly one bin', () => {
    assert(
      property(some, integer({ min: 1, max: 50 }), (values, count) => {
        const bins = histogramOf(values, count)
        expect(bins).toHaveLength(count)
        expect(bins.reduce((sum, bin) => sum + bin.count, 0)).toBe(values.length)
      }),
    )
    expect(histogramOf([0, 1, 9, 10], 2).map(bin => bin.count)).toEqual([2, 2])
  })

  it('count acks when they came and latencies when the record was due', () => {
    const samples = [
      { at: 0, ms: 10 },
      { at: 100, ms: 950 },
      { at: 1100, ms: 20 },
    ]
    expect(windowsOf(samples, 1000, 0, 3)).toEqual([
      { acked: 1, p50: 10, p99: 950 },
      { acked: 2, p50: 20, p99: 20 },
      { acked: 0 },
    ])
  })
})

// The chain's transitions keep its invariants (DESIGN 4.2, 9.5), whatever order they come in.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Chain,
  ChainConflictError,
  ChainInvalidError,
  decodeChain,
  encodeChain,
  extend,
  firstChain,
  lastSegment,
  modify,
  segmentAt,
  segmentByIndex,
  startOf,
  truncate,
  validate,
} from '../../loglets/chain.ts'
import { lsn } from '../../loglets/contract.ts'

const first = firstChain({ id: 'a', spec: 'memory' })
const grown = (): Chain => {
  const two = extend(first, 0, lsn(10), { id: 'b', spec: 'file', reason: 'operator' })
  return extend(two, 1, lsn(25), { id: 'c', spec: 'memory' })
}

describe('a chain', () => {
  it('grows by a segment, closes the one before, and counts versions', () => {
    const { version, segments } = grown()
    expect(version).toBe(3)
    expect(segments).toEqual([
      { index: 0, id: 'a', start: 0, end: 10, spec: 'memory' },
      { index: 1, id: 'b', start: 10, end: 25, spec: 'file', reason: 'operator' },
      { index: 2, id: 'c', start: 25, spec: 'memory' },
    ])
  })

  it('is extended only at the expected open segment', () => {
    for (const index of [0, 1, 3])
      expect(() => extend(grown(), index, lsn(30), { id: 'd', spec: 'file' })).toThrow(
        ChainConflictError,
      )
  })

  it('refuses an end before the start of its segment, and an id that it has already', () => {
    expect(() => extend(grown(), 2, lsn(24), { id: 'd', spec: 'file' })).toThrow(ChainInvalidError)
    expect(() => extend(grown(), 2, lsn(30), { id: 'a', spec: 'file' })).toThrow(ChainInvalidError)
  })

  it('finds the segment of a position', () => {
    const chain = truncate(grown(), lsn(10))
    expect(segmentAt(chain, lsn(9))).toBeUndefined()
    expect([10, 24, 25, 1000].map(at => segmentAt(chain, lsn(at))?.index)).toEqual([1, 1, 2, 2])
    expect(startOf(chain)).toBe(10)
    expect(segmentByIndex(chain, 1)?.id).toBe('b')
    expect(segmentByIndex(chain, 0)).toBeUndefined()
  })

  it('never finds an empty segment as owner of a position', () => {
    const chain = extend(grown(), 2, lsn(25), { id: 'd', spec: 'file' })
    expect(segmentAt(chain, lsn(25))?.id).toBe('d')
    expect(segmentAt(chain, lsn(24))?.id).toBe('b')
  })

  it('drops wholly trimmed segments and nothing else', () => {
    expect(truncate(grown(), lsn(9))).toEqual(grown())
    expect(truncate(grown(), lsn(24)).segments.map(s => s.index)).toEqual([1, 2])
    expect(truncate(grown(), lsn(9999)).segments.map(s => s.index)).toEqual([2])
  })

  it('replaces the loglet of a sealed segment, with the holes of its copy', () => {
    const holes = [{ gap: 'filler', from: lsn(12), to: lsn(13) }] as const
    const chain = modify(grown(), 1, 'b', { id: 'x', spec: 'striped:2:file', holes })
    expect(segmentByIndex(chain, 1)).toMatchObject({ id: 'x', start: 10, end: 25, holes })
    const again = modify(chain, 1, 'x', { id: 'y', spec: 'file', holes: [] })
    expect(segmentByIndex(again, 1)).not.toHaveProperty('holes')
  })

  it('refuses to replace an open, a gone or an already replaced segment', () => {
    const plan = { id: 'x', spec: 'file', holes: [] }
    expect(() => modify(grown(), 2, 'c', plan)).toThrow(ChainConflictError)
    expect(() => modify(grown(), 7, 'c', plan)).toThrow(ChainConflictError)
    expect(() => modify(grown(), 1, 'other', plan)).toThrow(ChainConflictError)
  })

  it('survives being stored', () => {
    expect(decodeChain(encodeChain(grown()))).toEqual(grown())
  })

  it.each([
    ['nonsense', 'not JSON'],
    ['7', 'no format'],
    ['{"version":1,"segments":[]}', 'no format'],
    ['{"format":2,"version":1,"segments":[]}', 'upgrade'],
    ['{"format":1,"version":1}', 'no list'],
    ['{"format":1,"version":1,"segments":[]}', 'no segment'],
    ['{"format":1,"version":0,"segments":[{"index":0,"id":"a","start":0,"spec":"m"}]}', 'version'],
    ['{"format":1,"version":1,"segments":[{"index":0,"id":"","start":0,"spec":"m"}]}', 'id'],
    ['{"format":1,"version":1,"segments":[{"index":0,"id":"a","start":-1,"spec":"m"}]}', 'start'],
    [
      '{"format":1,"version":1,"segments":[{"index":0,"id":"a","start":0,"end":3,"spec":"m"}]}',
      'last',
    ],
    ['{"format":1,"version":1,"segments":[null]}', 'no list'],
  ])('stored as %s is refused: %s', (text, why) => {
    const decode = (): Chain => decodeChain(new TextEncoder().encode(text))
    expect(decode).toThrow(ChainInvalidError)
    expect(decode).toThrow(why)
  })

  it.each([
    ['a gap between segments', { start: lsn(11) }],
    ['an index twice', { index: 0 }],
    ['an index left out', { index: 2 }],
    ['an end before its start', { end: lsn(9) }],
  ])('refuses %s', (_, change) => {
    const { version, segments } = grown()
    const broken = segments.map(s => (s.index === 1 ? { ...s, ...change } : s))
    expect(() => validate({ version, segments: broken })).toThrow(ChainInvalidError)
  })

  it('keeps its invariants through any series of transitions', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('extend' as const), length: fc.nat(5) }),
      fc.record({ kind: fc.constant('truncate' as const), at: fc.nat(60) }),
      fc.record({ kind: fc.constant('modify' as const), at: fc.nat(60) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        let chain = first
        let ids = 0
        for (const s of steps) {
          const before = chain
          const last = lastSegment(chain)
          const id = `n${ids++}`
          if (s.kind === 'extend')
            chain = extend(chain, last.index, lsn(last.start + s.length), { id, spec: 'm' })
          else if (s.kind === 'truncate') chain = truncate(chain, lsn(s.at))
          else {
            const old = segmentAt(chain, lsn(s.at))
            if (old?.end === undefined) continue
            chain = modify(chain, old.index, old.id, { id, spec: 'n', holes: [] })
          }
          validate(chain)
          expect(chain.version).toBe(chain === before ? before.version : before.version + 1)
          expect(decodeChain(encodeChain(chain))).toEqual(chain)
          // Positions never change their segment's index.
          for (let at = startOf(chain); at < lastSegment(chain).start; at = lsn(at + 1))
            if (at >= startOf(before) && at < lastSegment(before).start)
              expect(segmentAt(chain, at)?.index).toBe(segmentAt(before, at)?.index)
        }
      }),
    )
  })
})

import { describe, expect, it } from 'vitest'
import { checkTopicName, murmur2, partitionForKey } from '../../wire/index.ts'
import { codeOf } from './bytes.ts'

const utf8 = new TextEncoder()

describe('murmur2', () => {
  // The vectors of Kafka's own test of Utils.murmur2.
  it.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])('of %s is what Kafka computes', (text, expected) => {
    expect(murmur2(utf8.encode(text))).toBe(expected)
  })
})

describe('the partition of a key', () => {
  it('is the hash without its sign, modulo the partitions', () => {
    expect(partitionForKey(utf8.encode('21'), 1000)).toBe((-973932308 & 0x7fffffff) % 1000)
  })

  it('lies within the partitions for any key, and uses all of them', () => {
    const seen = new Set<number>()
    for (let i = 0; i < 1000; i++) seen.add(partitionForKey(utf8.encode(`key-${i}`), 7))
    expect([...seen].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6])
  })
})

describe('topic names', () => {
  it.each(['a', 'orders.eu-1_x', '...', 'A'.repeat(249)])('may be %s', name => {
    expect(codeOf(() => checkTopicName(name))).toBeUndefined()
  })

  it.each(['', '.', '..', 'a/b', 'a b', 'ä', 'a\n', '../etc', 'A'.repeat(250), '\u0000'])(
    'may not be %j',
    name => {
      expect(codeOf(() => checkTopicName(name))).toBe('INVALID_TOPIC_NAME')
    },
  )
})

// The judge of the chaos runs: for each of its rules a history that breaks it, and one that breaks none.

import { describe, expect, it } from 'vitest'
import { type Findings, KafkaChecker } from './kafka-checker.ts'

/** Producer 7 sends v0, v1, v2 to partition 2 and gets offsets 0, 1, 2 for them. */
function history(): KafkaChecker {
  const checker = new KafkaChecker()
  for (const offset of [0, 1, 2]) {
    checker.invoke(`v${offset}`, 7, 2)
    checker.ok(`v${offset}`, offset)
  }
  return checker
}

function readAll(checker: KafkaChecker, reader = 'r'): KafkaChecker {
  for (const offset of [0, 1, 2]) checker.poll(reader, 2, offset, `v${offset}`)
  return checker
}

const clean: Findings = {
  attempted: 3,
  acked: 3,
  failed: 0,
  unknown: 0,
  read: 3,
  lost: 0,
  unseen: 0,
  duplicate: 0,
  inconsistentOffsets: 0,
  phantom: 0,
  reordered: 0,
  pollNonmonotonic: 0,
  pollSkip: 0,
}

describe('the checker of histories', () => {
  it('finds nothing where nothing is wrong', () => {
    expect(readAll(history()).verdict()).toEqual(clean)
    expect(readAll(readAll(history(), 'a'), 'b').verdict()).toEqual({ ...clean, read: 6 })
  })

  it('tells a record that is lost from one that was not reached', () => {
    const lost = history()
    lost.poll('r', 2, 0, 'v0')
    lost.poll('r', 2, 2, 'v2')
    expect(lost.verdict()).toEqual({ ...clean, read: 2, lost: 1, pollSkip: 1 })
    const unseen = history()
    unseen.poll('r', 2, 0, 'v0')
    expect(unseen.verdict()).toEqual({ ...clean, read: 1, unseen: 2 })
  })

  it('counts a value in two places once, also when it lies in another partition', () => {
    const checker = readAll(history())
    checker.poll('r', 2, 3, 'v0')
    checker.poll('r', 2, 4, 'v0')
    checker.poll('r', 5, 1, 'v1')
    expect(checker.verdict()).toMatchObject({ duplicate: 2, read: 6, lost: 0 })
  })

  it('counts an offset with two values, of acks and of reads', () => {
    const checker = history()
    checker.poll('r', 2, 0, 'v1')
    expect(checker.verdict()).toMatchObject({ inconsistentOffsets: 1 })
    const ofAcks = history()
    ofAcks.invoke('v3', 8, 2)
    ofAcks.ok('v3', 2)
    expect(ofAcks.verdict()).toMatchObject({ inconsistentOffsets: 1 })
  })

  it('counts what was never sent, and what failed for certain; not what is unknown', () => {
    const checker = readAll(history())
    checker.invoke('failed', 7, 2)
    checker.fail('failed')
    checker.invoke('unknown', 7, 2)
    checker.poll('r', 2, 3, 'failed')
    checker.poll('r', 2, 4, 'unknown')
    checker.poll('r', 2, 5, 'from nowhere')
    expect(checker.verdict()).toMatchObject({ failed: 1, unknown: 1, phantom: 2, lost: 0 })
  })

  it('counts records of one producer that lie in another order than sent', () => {
    const checker = new KafkaChecker()
    for (const value of ['a', 'b']) checker.invoke(value, 1, 0)
    checker.invoke('other', 2, 0)
    checker.poll('r', 0, 0, 'b')
    checker.poll('r', 0, 1, 'a')
    checker.poll('r', 0, 2, 'other')
    expect(checker.verdict()).toMatchObject({ reordered: 1 })
  })

  it('counts a reader that goes back, and one that passes over what is there', () => {
    const back = readAll(history())
    back.poll('r', 2, 1, 'v1')
    expect(back.verdict()).toMatchObject({ pollNonmonotonic: 1, duplicate: 0 })
    const gap = history()
    gap.poll('r', 2, 2, 'v2')
    gap.poll('r', 2, 9, 'v2')
    // From 3 to 8 there is nothing.
    expect(gap.verdict()).toMatchObject({ pollSkip: 0 })
  })
})

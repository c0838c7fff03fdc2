// Entries that are damaged, or made to mislead: refused with one class of error, never read as something else.

import { describe, expect, it } from 'vitest'
import { encodeEntry, EntryFormatError, parseEntry } from '../../broker/engine/entry.ts'
import type { Command } from '../../broker/state/commands.ts'
import { encodeBatch, readBatchHeader } from '../../wire/batch.ts'
import { packFrame } from '../../wire/frame.ts'

const batch = encodeBatch([{ value: 'v' }], { now: 1 })
const part = { topicId: 1, partition: 0, batch, header: readBatchHeader(batch) }
const commands: readonly Command[] = [
  { type: 'produce', ...part, expect: 3 },
  {
    type: 'publish',
    batches: [part, part],
    expect: [{ topicId: 1, partition: 0, offset: 2 }],
    maps: [[1, 3]],
  },
  { type: 'relocate', moves: [{ ...part, base: 1, lsn: 2, start: 40 }] },
  { type: 'deleteTopic', topicId: 1 },
]
const entry = encoded(commands)

function encoded(list: readonly Command[]): Uint8Array {
  const { buffers } = encodeEntry({ session: 1, sequence: 2, stamp: 3 }, list)
  return Uint8Array.from(Buffer.concat(buffers))
}

describe('an entry', () => {
  it('reads as it was written', () => {
    const read = parseEntry(entry).commands.map(({ command }) => command)
    expect(read).toEqual(commands)
  })

  it('that is cut off anywhere is refused', () => {
    for (let length = 0; length < entry.length; length++)
      expect(() => parseEntry(entry.subarray(0, length))).toThrow(EntryFormatError)
  })

  it('with any byte changed is read, or refused with the same class of error', () => {
    for (let at = 0; at < entry.length; at++)
      for (const change of [1, 0x80, 0xff]) {
        const damaged = entry.slice()
        damaged[at] = (damaged[at] as number) ^ change
        try {
          parseEntry(damaged)
        } catch (error) {
          expect(error).toBeInstanceOf(EntryFormatError)
        }
      }
  })

  it('whose map names another type keeps the type of its bytes', () => {
    const bytes = encoded([{ type: 'deleteTopic', topicId: 1 }])
    const payload = packFrame({ type: 'stamp', topicId: 1 })
    const forged = new Uint8Array(40 + payload.length)
    forged.set(bytes.subarray(0, 40))
    forged.set(payload, 40)
    new DataView(forged.buffer).setUint32(36, payload.length)
    expect(parseEntry(forged).commands[0]?.command).toMatchObject({ type: 'deleteTopic' })
  })

  it('whose command reaches into the next one is refused', () => {
    const bytes = encoded([commands[2] as Command, { type: 'deleteTopic', topicId: 1 }])
    // One more move than the command has room for.
    new DataView(bytes.buffer).setUint32(40, 2)
    expect(() => parseEntry(bytes)).toThrow(EntryFormatError)
  })
})

// A group of records as one write: laid out behind the end of the newest file, entry buffers used as they are (format.ts has the bytes).

import type { Entry, Position } from '../contract.ts'
import { encodeRecordHeader, recordHeaderBytes, recordType } from './format.ts'

/** What waits to be written. `data` carries an entry, `skip` moves the next position to `at`, `seal` carries nothing. */
export interface Queued {
  readonly type: typeof recordType.data | typeof recordType.seal | typeof recordType.skip
  readonly entry: Entry
  readonly bytes: number
  /** The position that it must get; undefined takes the next one. */
  readonly at: number | undefined
  readonly resolve: (position: Position) => void
  readonly reject: (error: Error) => void
}

/** Where a file that is being written stands. */
export interface Cursor {
  /** File offset behind the last record. */
  readonly end: number
  readonly next: number
  /** CRC of the last record. */
  readonly crc: number
  readonly sealed: boolean
}

/** A group that was laid out. `positions[i]` and `offsets[i]` belong to `items[i]`. */
export interface Group {
  readonly items: readonly Queued[]
  readonly buffers: readonly Uint8Array[]
  readonly positions: readonly number[]
  readonly offsets: readonly number[]
  readonly bytes: number
  /** Where the file stands behind it. */
  readonly after: Cursor
}

/** `watermark`: bytes of the file below it are synced. */
export function layOut(
  items: readonly Queued[],
  from: Cursor,
  watermark: number,
  salt: number,
): Group {
  const headers = new Uint8Array(items.length * recordHeaderBytes)
  const buffers: Uint8Array[] = []
  const positions: number[] = []
  const offsets: number[] = []
  let { end, next, crc, sealed } = from
  items.forEach(({ type, entry, bytes, at }, i) => {
    const headerAt = i * recordHeaderBytes
    const position = type === recordType.skip ? (at as number) : next
    crc = encodeRecordHeader(
      headers,
      headerAt,
      { type, position, watermark, length: bytes, previousCrc: crc },
      entry,
      salt,
    )
    buffers.push(headers.subarray(headerAt, headerAt + recordHeaderBytes))
    for (const buffer of entry) if (buffer.length > 0) buffers.push(buffer)
    positions.push(position)
    offsets.push(end)
    end += recordHeaderBytes + bytes
    next = type === recordType.data ? position + 1 : position
    if (type === recordType.seal) sealed = true
  })
  return {
    items,
    buffers,
    positions,
    offsets,
    bytes: end - from.end,
    after: { end, next, crc, sealed },
  }
}

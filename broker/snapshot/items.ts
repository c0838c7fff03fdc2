// Batches of one partition as they lie in an archive and travel in `restoreBatches` (protocol.md 13.3), big-endian:
//
//   { u64 offset, u64 next offset, u64 append time ms, u32 length, batch } …        length 0: offsets that were lost
//
// Reading checks everything that can be checked without the partition: numbers, order, and each batch's own header and CRC. Nothing is decompressed.

import { type BatchHeader, checkBatch } from '../../wire/batch.ts'
import { getU64, setU64 } from '../../wire/u64.ts'
import type { RestoredBatch } from '../state/restore/commands.ts'

export const itemHeaderBytes = 28

/** Why bytes are no items; whoever reads them knows where they came from. */
export class ItemsError extends Error {
  override readonly name = 'ItemsError'
}

/** Header of an item; the batch follows. */
export function itemHeader(item: RestoredBatch): Uint8Array {
  const bytes = new Uint8Array(itemHeaderBytes)
  const view = new DataView(bytes.buffer)
  setU64(view, 0, item.offset)
  setU64(view, 8, item.next)
  setU64(view, 16, item.timestamp)
  view.setUint32(24, item.batch.length)
  return bytes
}

/** Parses items; the batches are views of `bytes`. @throws ItemsError, BATCH_CORRUPT, UNSUPPORTED_CODEC, MESSAGE_TOO_LARGE */
export function parseItems(bytes: Uint8Array, batchBytesMax: number): RestoredBatch[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const items: RestoredBatch[] = []
  let last: RestoredBatch | undefined
  for (let at = 0; at < bytes.length; ) {
    if (at + itemHeaderBytes > bytes.length) throw new ItemsError('an item ends inside its header')
    const [offset, next, timestamp] = [0, 8, 16].map(i => getU64(view, at + i)) as [
      number,
      number,
      number,
    ]
    const start = at + itemHeaderBytes
    at = start + view.getUint32(at + 24)
    if (at > bytes.length) throw new ItemsError('a batch reaches past the end')
    for (const value of [offset, next, timestamp])
      if (!Number.isSafeInteger(value)) throw new ItemsError(`${value} is beyond 2^53 - 1`)
    if (next <= offset) throw new ItemsError(`offsets [${offset}, ${next}) are none`)
    if (last !== undefined && offset < last.next)
      throw new ItemsError(`offset ${offset} follows ${last.next}`)
    if (last !== undefined && timestamp < last.timestamp)
      throw new ItemsError(`append time ${timestamp} follows ${last.timestamp}`)
    const batch = bytes.subarray(start, at)
    const header = batch.length === 0 ? undefined : checkBatch(batch, { bytesMax: batchBytesMax })
    last = { offset, next, timestamp, batch, ...spanning(header, offset, next) }
    items.push(last)
  }
  return items
}

function spanning(
  header: BatchHeader | undefined,
  offset: number,
  next: number,
): { readonly header?: BatchHeader } {
  if (header === undefined) return {}
  if (header.span === next - offset) return { header }
  throw new ItemsError(`a batch of ${header.span} offsets stands for [${offset}, ${next})`)
}

// Produce frames, made before anything is measured.

import { encodeBatch, packFrame, readBatchHeader } from '../../wire/index.ts'
import type { LoadOptions } from './options.ts'

export type FrameOptions = Pick<LoadOptions, 'recordBytes' | 'batchBytes' | 'topic' | 'partitions'>

/** Distinct ids, more of them than can be in flight. */
export function makeFrames(o: FrameOptions): {
  readonly frames: readonly Uint8Array[]
  readonly recordsPerBatch: number
} {
  const text = 'the quick brown fox jumps over the lazy dog 0123456789 '
  const value = text.repeat(Math.ceil(o.recordBytes / text.length)).slice(0, o.recordBytes)
  const count = Math.max(1, Math.round((o.batchBytes - 64) / (o.recordBytes + 8)))
  const batch = encodeBatch(
    Array.from({ length: count }, () => ({ value })),
    { now: Date.now() },
  )
  const frames = Array.from({ length: Math.max(256, o.partitions ?? 1) }, (_, id) =>
    packFrame({
      op: 'produce',
      id: id + 1,
      topic: o.topic,
      partition: id % (o.partitions ?? 1),
      batch,
    }),
  )
  return { frames, recordsPerBatch: readBatchHeader(batch).count }
}

// Gathers the batches of one partition into chunks of an archive: about `chunkTargetBytes`, so that each can be sent to a broker as one request.

import { readBatchHeader } from '../../wire/batch.ts'
import type { Totals } from './check-archive.ts'
import { itemHeader, itemHeaderBytes } from './items.ts'

/** A larger batch has a chunk of its own. */
const chunkTargetBytes = 1 << 20

export class PartitionChunks {
  private readonly place: Uint8Array
  private readonly totals: Totals
  private pieces: Uint8Array[] = []
  private bytes = 0
  private readonly full: Uint8Array[][] = []
  private next: number | undefined
  private timestamp: number

  /** Counts into `totals`. `createdAt` of the topic, ms: no batch is older, and what was lost has no time of its own. */
  constructor(index: number, partition: number, createdAt: number, totals: Totals) {
    this.timestamp = createdAt
    this.place = new Uint8Array(8)
    const view = new DataView(this.place.buffer)
    view.setUint32(0, index)
    view.setUint32(4, partition)
    this.totals = totals
  }

  addBatch(offset: number, timestamp: number, batch: Uint8Array): void {
    const { count, span } = readBatchHeader(batch)
    this.totals.batches++
    this.totals.records += count
    this.add(offset, offset + span, timestamp, batch)
  }

  /** Offsets whose content nobody has any more. */
  addLost(offset: number, next: number): void {
    this.totals.lostOffsets += next - offset
    this.add(offset, next, this.timestamp, new Uint8Array())
  }

  /** The partition ends here: what is missing up to there is lost. */
  endAt(end: number): void {
    if (this.next === undefined || this.next < end) this.addLost(this.next ?? end - 1, end)
  }

  /** Chunks that are full, or all, as pieces of their payload. */
  take(all: boolean): Uint8Array[][] {
    if (all) this.cut()
    return this.full.splice(0)
  }

  private add(offset: number, next: number, timestamp: number, batch: Uint8Array): void {
    const bytes = itemHeaderBytes + batch.length
    if (this.bytes + bytes > chunkTargetBytes) this.cut()
    this.pieces.push(itemHeader({ offset, next, timestamp, batch }), batch)
    this.bytes += bytes
    this.next = next
    this.timestamp = timestamp
    this.totals.batchBytes += batch.length
  }

  private cut(): void {
    if (this.pieces.length > 0) this.full.push([this.place, ...this.pieces])
    this.pieces = []
    this.bytes = 0
  }
}

// The records of one producer for one partition: an open batch in front of a lane.
//
// Guarantees: batches enter the lane in the order in which they were opened, so records keep the order in which they were added. It
// does not know time: the producer closes what has lingered.

import { BatchBuilder, type Codec, LogloomError, type RecordInput } from '../wire/index.ts'
import type { Lane } from './lane.ts'
import { type BatchRoute, OutgoingBatch } from './outgoing-batch.ts'

/** What partition lanes share with their producer. */
export interface PartitionLaneOwner {
  readonly batchSize: number
  readonly codec: Codec
  /** Largest batch that may be sent, bytes. */
  batchBytesMax(): number
  deadlineMs(): number
  wallMs(): number
  opened(lane: PartitionLane, batch: OutgoingBatch): void
  /** The open batch was sent off: a sticky partitioner moves on. */
  closed(lane: PartitionLane): void
  took(bytes: number): void
  settled(batch: OutgoingBatch): void
}

export class PartitionLane {
  readonly route: BatchRoute
  readonly lane: Lane
  readonly #owner: PartitionLaneOwner
  #open: OutgoingBatch | undefined

  constructor(route: BatchRoute, lane: Lane, owner: PartitionLaneOwner) {
    this.route = route
    this.lane = lane
    this.#owner = owner
  }

  /** The batch that still takes records. */
  get open(): OutgoingBatch | undefined {
    return this.#open
  }

  /** Adds a record and returns its batch; it is the last record there. @throws MESSAGE_TOO_LARGE, INVALID_REQUEST */
  add(record: RecordInput): OutgoingBatch {
    const open = this.#open
    if (open) {
      const before = open.builtBytes
      if (open.tryAppend(record)) {
        this.#count(open, before)
        if (open.builtBytes >= this.#owner.batchSize) this.closeOpen()
        return open
      }
      this.closeOpen()
    }
    const batch = this.#openFor(record)
    this.#open = batch
    this.#owner.opened(this, batch)
    this.#count(batch, 0)
    if (batch.builtBytes >= this.#owner.batchSize) this.closeOpen()
    return batch
  }

  /** A record alone in its batch, which takes effect only if the partition's next offset is `expectOffset`. */
  addExpecting(record: RecordInput, expectOffset: number): OutgoingBatch {
    this.closeOpen()
    const batch = this.#openFor(record, expectOffset)
    this.#owner.opened(this, batch)
    this.#count(batch, 0)
    this.#submit(batch)
    return batch
  }

  /** A batch that was encoded elsewhere. The bytes belong to the lane from now on. */
  addEncoded(bytes: Uint8Array, count: number): OutgoingBatch {
    this.closeOpen()
    const batch = this.#create({ bytes, count })
    this.#owner.opened(this, batch)
    this.#owner.took(batch.countedBytes)
    this.lane.push(batch)
    return batch
  }

  /** Sends what is open, if anything. */
  closeOpen(): void {
    const batch = this.#open
    if (!batch) return
    this.#open = undefined
    this.#submit(batch)
    this.#owner.closed(this)
  }

  #submit(batch: OutgoingBatch): void {
    batch.close(this.#owner.codec, () => this.lane.pump())
    this.lane.push(batch)
  }

  /** A new batch with its first record: of the usual size, or as large as allowed for a large record. */
  #openFor(record: RecordInput, expectOffset?: number): OutgoingBatch {
    const { batchSize } = this.#owner
    const bytesMax = this.#owner.batchBytesMax()
    try {
      return this.#fill(record, Math.min(batchSize, bytesMax), expectOffset)
    } catch (error) {
      const large = error instanceof LogloomError && error.code === 'MESSAGE_TOO_LARGE'
      if (!large || batchSize >= bytesMax) throw error
      return this.#fill(record, bytesMax, expectOffset)
    }
  }

  #fill(record: RecordInput, bytesMax: number, expectOffset?: number): OutgoingBatch {
    const builder = new BatchBuilder({ bytesMax, now: this.#owner.wallMs() })
    builder.tryAppend(record)
    return this.#create({ builder }, expectOffset)
  }

  #create(content: ConstructorParameters<typeof OutgoingBatch>[3], expectOffset?: number) {
    const settled = (batch: OutgoingBatch): void => this.#owner.settled(batch)
    return new OutgoingBatch(this.route, this.#owner.deadlineMs(), settled, content, expectOffset)
  }

  #count(batch: OutgoingBatch, before: number): void {
    const added = batch.builtBytes - before
    batch.countedBytes += added
    this.#owner.took(added)
  }
}

// The records of one producer for one partition: an open batch in front of a lane.
//
// Guarantees: batches enter the lane in the order in which they were opened, so records keep the order in which they were added. It
// does not know time: the producer closes what has lingered.

import { BatchBuilder, type Codec, LogloomError, type RecordInput } from '../wire/index.ts'
import type { Lane } from './lane.ts'
import { type BatchRoute, type BatchTerms, OutgoingBatch } from './outgoing-batch.ts'

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
  /** The topic has other partitions than those out of which the batch's was chosen. */
  recalled(batch: OutgoingBatch, error: LogloomError): void
}

export class PartitionLane {
  readonly route: BatchRoute
  readonly lane: Lane
  /** Batches whose partitions have to be chosen anew. */
  recalled: OutgoingBatch[] = []
  #made = 0
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

  /** Adds a record and returns its batch; it is the last record there. Batches hold records of the same terms. @throws MESSAGE_TOO_LARGE, INVALID_REQUEST */
  add(record: RecordInput, terms: BatchTerms = {}): OutgoingBatch {
    if (this.#open && this.#open.terms.partitions !== terms.partitions) this.closeOpen()
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
    const batch = this.#openFor(record, terms)
    this.#open = batch
    this.#owner.opened(this, batch)
    this.#count(batch, 0)
    if (batch.builtBytes >= this.#owner.batchSize) this.closeOpen()
    return batch
  }

  /** A record alone in its batch, as one with `expectOffset` has to be. */
  addAlone(record: RecordInput, terms: BatchTerms): OutgoingBatch {
    this.closeOpen()
    const batch = this.#openFor(record, terms)
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

  /** Takes back what is open. */
  recallOpen(): void {
    const batch = this.#open
    if (!batch) return
    this.#open = undefined
    batch.close('none', () => {})
    this.recalled.push(batch)
  }

  #submit(batch: OutgoingBatch): void {
    batch.close(this.#owner.codec, () => this.lane.pump())
    this.lane.push(batch)
  }

  /** A new batch with its first record: of the usual size, or as large as allowed for a large record. */
  #openFor(record: RecordInput, terms: BatchTerms): OutgoingBatch {
    const { batchSize } = this.#owner
    const bytesMax = this.#owner.batchBytesMax()
    try {
      return this.#fill(record, Math.min(batchSize, bytesMax), terms)
    } catch (error) {
      const large = error instanceof LogloomError && error.code === 'MESSAGE_TOO_LARGE'
      if (!large || batchSize >= bytesMax) throw error
      return this.#fill(record, bytesMax, terms)
    }
  }

  #fill(record: RecordInput, bytesMax: number, terms: BatchTerms): OutgoingBatch {
    const builder = new BatchBuilder({ bytesMax, now: this.#owner.wallMs() })
    const batch = this.#create({ builder }, terms)
    batch.tryAppend(record)
    return batch
  }

  #create(content: ConstructorParameters<typeof OutgoingBatch>[3], terms: BatchTerms = {}) {
    const on = {
      settled: (batch: OutgoingBatch): void => this.#owner.settled(batch),
      recalled: (batch: OutgoingBatch, error: LogloomError): void => {
        this.recalled.push(batch)
        this.#owner.recalled(batch, error)
      },
    }
    const deadlineMs = terms.deadlineMs ?? this.#owner.deadlineMs()
    const batch = new OutgoingBatch(this.route, deadlineMs, on, content, terms)
    batch.order = this.#made++
    return batch
  }

  #count(batch: OutgoingBatch, before: number): void {
    const added = batch.builtBytes - before
    batch.countedBytes += added
    this.#owner.took(added)
  }
}

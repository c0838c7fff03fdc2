// A batch of one partition on its way: filled, closed, compressed, stamped, sent as often as needed.
//
// Guarantees: once closed its records and their bytes never change; only the producer fields are stamped again when the lane gives
// it another place. It does not know when it is sent.

import {
  BatchBuilder,
  type BatchRecord,
  type Codec,
  compressBatch,
  decodeBatch,
  type Frame,
  type LogloomError,
  type RecordInput,
  stampProducer,
} from '../wire/index.ts'
import { type ClientClock, pause } from './clock.ts'
import type { LaneItem, Stamp } from './lane.ts'
import type { Link } from './link.ts'
import type { Lsn, Offset } from './positions.ts'
import { Outcome, type RecordPlace, sealMetIn } from './records.ts'

/** What a batch needs to know of its producer and partition. */
export interface BatchRoute {
  readonly topic: string
  readonly partition: number
  readonly acks: number
  readonly requestTimeoutMs: number
  readonly clock: ClientClock
}

/** What a batch is made for, beyond its place. */
export interface BatchTerms {
  /** Takes effect only if this is the partition's next offset. */
  readonly expectOffset?: number | undefined
  /** Out of how many the partition was chosen: else it is refused, and chosen again. Undefined: the caller chose. */
  readonly partitions?: number | undefined
  readonly deadlineMs?: number | undefined
}

/** Above this many bytes in the socket's buffer unacknowledged sends wait; there is no other flow control with `acks: 0`. */
const unackedBufferBytesMax = 1 << 20

export class OutgoingBatch implements LaneItem {
  readonly outcome = new Outcome()
  readonly route: BatchRoute
  readonly deadlineMs: number
  readonly terms: BatchTerms
  /** Its number among those of its partition. */
  order = 0
  /** Takes it back when it is refused as out of date; not when it expects something of its partition, which another one need not have. */
  readonly recall?: (error: LogloomError) => void
  /** Bytes counted against the producer's bound. */
  countedBytes = 0
  #builder: BatchBuilder | undefined
  #bytes: Uint8Array | undefined
  #count = 0
  #preparing = false
  #stamped: Stamp | undefined
  #hasKeys = false
  readonly #onSettled: (batch: OutgoingBatch) => void

  constructor(
    route: BatchRoute,
    deadlineMs: number,
    on: {
      readonly settled: (batch: OutgoingBatch) => void
      readonly recalled: (batch: OutgoingBatch, error: LogloomError) => void
    },
    content: { builder: BatchBuilder } | { bytes: Uint8Array; count: number },
    terms: BatchTerms = {},
  ) {
    this.route = route
    this.deadlineMs = deadlineMs
    this.terms = terms
    if (terms.expectOffset === undefined) this.recall = error => on.recalled(this, error)
    this.#onSettled = on.settled
    if ('builder' in content) this.#builder = content.builder
    else {
      this.#bytes = content.bytes
      this.#count = content.count
      this.countedBytes = content.bytes.byteLength
    }
  }

  get count(): number {
    return this.#builder?.count ?? this.#count
  }

  /** It takes records. */
  get open(): boolean {
    return this.#builder !== undefined
  }

  get ready(): boolean {
    return this.#bytes !== undefined && !this.#preparing
  }

  /** Bytes filled so far, header included. */
  get builtBytes(): number {
    return this.#builder?.bytes ?? this.#bytes?.byteLength ?? 0
  }

  /** Adds a record; false when it does not fit any more. @throws MESSAGE_TOO_LARGE for a first record that never will */
  tryAppend(record: RecordInput): boolean {
    const isTaken = this.#builder?.tryAppend(record) ?? false
    if (isTaken && (record.key ?? null) !== null) this.#hasKeys = true
    return isTaken
  }

  /** No more records. `onReady` is called later if compression takes a while. */
  close(codec: Codec, onReady: () => void): void {
    const builder = this.#builder
    if (!builder) return
    this.#count = builder.count
    const bytes = builder.build()
    this.#builder = undefined
    this.#bytes = bytes
    if (codec === 'none') return
    this.#preparing = true
    compressBatch(bytes, codec).then(
      compressed => {
        this.#bytes = compressed
        this.#preparing = false
        onReady()
      },
      () => {
        // Uncompressed is as good; a codec that this runtime lacks was refused when the producer was made.
        this.#preparing = false
        onReady()
      },
    )
  }

  transmit(link: Link, stamp: Stamp | undefined): Promise<Frame> {
    const { topic, partition, acks, requestTimeoutMs } = this.route
    const batch = this.#bytes as Uint8Array
    if (stamp && !isSameStamp(stamp, this.#stamped)) {
      const { producerId, producerEpoch, sequence } = stamp
      stampProducer(batch, { producerId, producerEpoch, baseSequence: sequence })
      this.#stamped = stamp
    }
    const fields: Frame = { topic, partition, batch, acks }
    const { expectOffset, partitions } = this.terms
    if (expectOffset !== undefined) fields['expect'] = { offset: expectOffset }
    // Without answers nobody would learn of a refusal; records without keys have no order to keep.
    if (partitions !== undefined && this.#hasKeys && acks !== 0) fields['partitions'] = partitions
    if (acks !== 0) return link.channel.request('produce', fields, { timeoutMs: requestTimeoutMs })
    link.channel.send({ op: 'produce', id: 0, ...fields })
    return drained(link, this.route.clock)
  }

  /** The records of a closed batch. */
  records(): Promise<readonly BatchRecord[]> {
    return decodeBatch(this.#bytes as Uint8Array)
  }

  /** The records are in other batches now. */
  move(places: readonly RecordPlace[]): void {
    this.outcome.move(places)
    this.#release()
  }

  succeed(reply: Frame): void {
    const { topic, partition } = this.route
    const number = (key: string): number => {
      const value = reply[key]
      return typeof value === 'number' ? value : -1
    }
    this.outcome.succeed({
      topic,
      partition,
      offset: number('offset') as Offset,
      lsn: number('lsn') as Lsn,
      timestamp: number('timestamp'),
      ...sealMetIn(reply),
    })
    this.#release()
  }

  fail(error: LogloomError): void {
    this.outcome.fail(error)
    this.#release()
  }

  #release(): void {
    this.#bytes = undefined
    this.#builder = undefined
    this.#onSettled(this)
  }
}

function isSameStamp(a: Stamp, b: Stamp | undefined): boolean {
  return (
    a.sequence === b?.sequence &&
    a.producerId === b.producerId &&
    a.producerEpoch === b.producerEpoch
  )
}

/** Resolves with an empty reply once the socket took most of what it was given. Browsers tell only when asked. */
async function drained(link: Link, clock: ClientClock): Promise<Frame> {
  const { channel } = link
  while (channel.bufferedAmount > unackedBufferBytesMax && !channel.isOver) await pause(clock, 2)
  return {}
}

// Records on their way out.
//
// A record knows its place and can name it as a resume token; the token is written only when asked for. With `as: 'bytes'` key, value
// and header values are views of the delivery they came in: copy what is kept for long.

import { formatResumeToken, type Offset, type Position } from './positions.ts'

/** The positions of a reader when one batch was handed out: that of the batch's own partition is replaced per record. */
export interface Snapshot {
  readonly partitions: readonly { readonly topic: string; readonly partition: number }[]
  readonly nexts: readonly number[]
  /** Index of the batch's partition in both. */
  readonly at: number
}

/** The token that continues after `next` of the snapshot's partition. */
export function resumeTokenAt(snapshot: Snapshot, next: number): string {
  const { partitions, nexts, at } = snapshot
  const positions: Position[] = partitions.map(({ topic, partition }, i) => {
    return { topic, partition, next: i === at ? next : (nexts[i] ?? 0) }
  })
  return formatResumeToken(positions)
}

/** One record as read. `K` and `V` depend on the topic's codec and on `as`. */
export class ReadRecord<V, K = string> {
  readonly topic: string
  readonly partition: number
  readonly offset: Offset
  /** The record's own timestamp, milliseconds since 1970. */
  readonly timestamp: number
  readonly key: K | null
  /** null is a tombstone. */
  readonly value: V | null
  /** In the order written, repeated names kept. */
  readonly headers: readonly (readonly [string, Uint8Array])[]
  readonly #snapshot: Snapshot

  constructor(
    place: { readonly topic: string; readonly partition: number; readonly snapshot: Snapshot },
    offset: number,
    timestamp: number,
    key: K | null,
    value: V | null,
    headers: readonly (readonly [string, Uint8Array])[],
  ) {
    this.topic = place.topic
    this.partition = place.partition
    this.offset = offset as Offset
    this.timestamp = timestamp
    this.key = key
    this.value = value
    this.headers = headers
    this.#snapshot = place.snapshot
  }

  /** Pass it as `from` to continue after this record, in every partition that the reader covers. */
  get resumeToken(): string {
    return resumeTokenAt(this.#snapshot, this.offset + 1)
  }

  /** The first header of that name as text. */
  header(name: string): string | undefined {
    const found = this.headers.find(header => header[0] === name)
    return found && new TextDecoder().decode(found[1])
  }
}

/** The records of one delivery, of one partition; never empty. */
export interface ReadBatch<V, K = string> {
  readonly topic: string
  readonly partition: number
  readonly records: readonly ReadRecord<V, K>[]
  /** First offset after this batch. */
  readonly next: Offset
  /** The partition's end when the batch was sent: `end − next` is the lag. */
  readonly end: Offset
  /** Pass it as `from` to continue after this batch. */
  readonly resumeToken: string
}

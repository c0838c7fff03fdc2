// What many subscriptions read at once is read and packed once. Consumers at the tail of a partition are woken by the same append and want the
// same batches: each gets a small head of its own, and all of them the same bytes behind it.
//
// Guarantees: a read is shared within one turn of the event loop only, and only with whoever would have got just the same. It does not bound
// what waits in sockets: `outputBytesMax` counts the shared bytes for each of them.

import { packField } from '../../wire/frame.ts'
import type { Broker } from '../broker.ts'
import { countRecords, formatItems, type ReadFormat } from './items.ts'

/** Items of one read, packed as the field of a frame. */
export interface PackedRead {
  readonly packed: Uint8Array
  /** No item: there was nothing to read. */
  readonly empty: boolean
  readonly next: number
  readonly end: number
  /** Batch bytes in it. */
  readonly bytes: number
  readonly records: number
}

export interface ReadPlace {
  readonly topicId: number
  readonly partition: number
  readonly from: number
  readonly maxBytes: number
  /** Where the partition ends for a reader of the past. */
  readonly until: number | undefined
  readonly format: ReadFormat
}

interface Kept {
  readonly maxBytes: number
  readonly read: PackedRead
}

export class SharedReads {
  private readonly broker: Broker
  private readonly defer: (fn: () => void) => void
  private kept: Map<string, Kept> | undefined

  /** `defer` runs a function after the events of this turn. */
  constructor(broker: Broker, defer: (fn: () => void) => void = fn => void setImmediate(fn)) {
    this.broker = broker
    this.defer = defer
  }

  /** Synchronous when the tail cache has everything and nothing must be opened. @throws as the broker's read, and UNSUPPORTED_CODEC */
  read(place: ReadPlace): PackedRead | Promise<PackedRead> {
    const { topicId, partition, from, maxBytes, until, format } = place
    const isShared = until === undefined && !format.records
    const key = isShared ? `${topicId}/${partition}/${from}/${format.name}` : ''
    const kept = isShared ? this.kept?.get(key) : undefined
    if (kept !== undefined && isSame(kept, maxBytes)) return kept.read
    const result = this.broker.read(topicId, partition, from, maxBytes, until)
    if (result instanceof Promise) return result.then(found => pack(found, from, format))
    const read = pack(result, from, format)
    if (isShared && !(read instanceof Promise)) this.keep(key, { maxBytes, read })
    return read
  }

  private keep(key: string, kept: Kept): void {
    if (this.kept === undefined) {
      this.kept = new Map()
      this.defer(() => {
        this.kept = undefined
      })
    }
    this.kept.set(key, kept)
  }
}

/** True when a reader with room for `maxBytes` would have got this. */
function isSame({ maxBytes: had, read }: Kept, maxBytes: number): boolean {
  if (had === maxBytes) return true
  // All that there was, and it fits.
  return read.next === read.end && read.bytes <= maxBytes
}

type Read = Awaited<ReturnType<Broker['read']>>

function pack(result: Read, from: number, format: ReadFormat): PackedRead | Promise<PackedRead> {
  const formatted = formatItems(result, from, format)
  const packed = ({ items, next }: Awaited<typeof formatted>): PackedRead => ({
    packed: packField(items),
    empty: result.items.length === 0,
    next,
    end: result.end,
    bytes: result.bytes,
    records: countRecords(result),
  })
  return formatted instanceof Promise ? formatted.then(packed) : packed(formatted)
}

// Items of fetch and subscribe in the two formats (protocol.md 6.2).

import {
  type BatchRecord,
  type Codec,
  readBatchHeader,
  supportedCodecs,
  walkBatch,
} from '../../wire/batch.ts'
import { LogloomError } from '../../wire/errors.ts'
import { optArray, optStr } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import type { ReadItem, ReadResult } from '../reader.ts'

export interface ReadFormat {
  /** The same for two formats that read alike. */
  readonly name: string
  readonly records: boolean
  readonly codecs: ReadonlySet<string>
}

/** @throws INVALID_REQUEST */
export function readFormat(frame: Frame): ReadFormat {
  const format = optStr(frame, 'format') ?? 'batches'
  if (format !== 'batches' && format !== 'records')
    throw new LogloomError(
      'INVALID_REQUEST',
      `field format must be "batches" or "records", got ${JSON.stringify(format.slice(0, 40))}`,
      {
        field: 'format',
      },
    )
  const wanted = optArray(frame, 'codecs')
  const codecs =
    wanted === undefined ? allCodecs : allCodecs.filter(codec => wanted.includes(codec))
  return {
    name: `${format}:${codecs.join()}`,
    records: format === 'records',
    codecs: new Set(codecs),
  }
}

const allCodecs = ['none', 'gzip', 'zstd'] as const satisfies readonly Codec[]

export interface FormattedItems {
  readonly items: Frame[]
  /** Where to continue: records of a batch may be left for the next frame. */
  readonly next: number
}

/** Elements that the records of one frame may take, below the protocol's limit for a frame. */
const recordElementsMax = 8000
const elementsPerRecord = 6
/** Keys, values and headers in one frame, about: a small batch may decompress to much. */
const recordBytesMax = 1 << 20
/** A single record that is still served in this format. */
const oneRecordBytesMax = 4 << 20
/** What this broker can open itself. */
const ownCodecs: ReadonlySet<string> = new Set(supportedCodecs)

/** Items as the client asked for them. Synchronous unless a body must be opened. @throws UNSUPPORTED_CODEC */
export function formatItems(
  result: ReadResult,
  from: number,
  format: ReadFormat,
): FormattedItems | Promise<FormattedItems> {
  if (format.records) return recordItems(result, from)
  const items: Frame[] = []
  for (const item of result.items) {
    if (item.kind === 'gap') {
      items.push(gapItem(item))
      continue
    }
    const codec = foreignCodec(item.batch, format.codecs)
    // What lies before it is served first; the next read begins here and ends with the error.
    if (codec !== undefined && items.length > 0) return { items, next: item.offset }
    if (codec !== undefined) throw unsupported(codec, format.codecs)
    const { offset, lsn, timestamp, batch } = item
    items.push({ offset, lsn, timestamp, batch })
  }
  return { items, next: result.next }
}

async function recordItems(result: ReadResult, from: number): Promise<FormattedItems> {
  const frame = new RecordFrame()
  const { items } = frame
  for (const item of result.items) {
    if (item.kind === 'gap') {
      frame.addGap(gapItem(item))
      continue
    }
    const codec = foreignCodec(item.batch, ownCodecs)
    if (codec !== undefined && items.length > 0) return { items, next: item.offset }
    if (codec !== undefined) throw unsupported(codec, ownCodecs)
    const before = frame.mark()
    try {
      // Opening may take more than this turn, for which the batch is valid.
      await walkBatch(item.batch.slice(), {
        from: from - item.offset,
        recordBytesMax: oneRecordBytesMax,
        visit: (record, bytes) => frame.take(item.offset + record.offsetDelta, record, bytes),
      })
    } catch (error) {
      if (!(error instanceof LogloomError) || error.code !== 'BATCH_CORRUPT') throw error
      // None of its records counts.
      frame.reset(before)
      items.push({
        gap: 'corrupt',
        offset: Math.max(from, item.offset),
        next: item.offset + item.span,
      })
    }
    if (frame.refusal !== undefined) throw frame.refusal
    if (frame.full !== undefined) return { items, next: frame.full }
  }
  return { items, next: result.next }
}

interface FrameMark {
  readonly items: number
  readonly elements: number
  readonly bytes: number
}

/** Copies what a frame has room for: what a batch decompresses to is not kept. */
class RecordFrame {
  readonly items: Frame[] = []
  /** Offset of the first record left out, if there is one. */
  full: number | undefined
  /** A first record that is too large. */
  refusal: LogloomError | undefined
  private elements = 0
  private bytes = 0

  addGap(gap: Frame): void {
    this.items.push(gap)
    this.elements += elementsPerRecord
  }

  mark(): FrameMark {
    const { items, elements, bytes } = this
    return { items: items.length, elements, bytes }
  }

  reset({ items, elements, bytes }: FrameMark): void {
    this.items.length = items
    this.elements = elements
    this.bytes = bytes
    this.full = undefined
    this.refusal = undefined
  }

  /** @returns whether there may be room for more */
  take(offset: number, record: BatchRecord, recordBytes: number): boolean {
    const { timestamp, key, value, headers } = record
    this.elements += elementsPerRecord + headers.length
    this.bytes += recordBytes
    const isFull = this.elements > recordElementsMax || this.bytes > recordBytesMax
    if (isFull && this.items.length > 0) {
      this.full = offset
      return false
    }
    if (recordBytes > oneRecordBytesMax) {
      this.refusal = new LogloomError(
        'MESSAGE_TOO_LARGE',
        `the record at offset ${offset} has ${recordBytes} bytes, format "records" carries ${oneRecordBytesMax}: read it with format "batches"`,
        { limit: oneRecordBytesMax, actual: recordBytes, offset },
      )
      return false
    }
    this.items.push({
      offset,
      timestamp,
      key: key && new Uint8Array(key),
      value: value && new Uint8Array(value),
      headers: Object.fromEntries(headers.map(([name, held]) => [name, new Uint8Array(held)])),
    })
    return true
  }
}

/** Records inside, for counters. */
export function countRecords(result: ReadResult): number {
  return result.items.reduce((sum, item) => sum + (item.kind === 'batch' ? item.count : 0), 0)
}

function gapItem(item: ReadItem & { kind: 'gap' }): Frame {
  return { gap: item.gap, offset: item.offset, next: item.next }
}

/** The batch's codec when it is not among those accepted. */
function foreignCodec(batch: Uint8Array, accepted: ReadonlySet<string>): Codec | undefined {
  const { codec } = readBatchHeader(batch)
  return accepted.has(codec) ? undefined : codec
}

function unsupported(codec: Codec, accepted: ReadonlySet<string>): LogloomError {
  return new LogloomError(
    'UNSUPPORTED_CODEC',
    `the next batch is ${codec}, the reader accepts ${[...accepted].join(', ')}`,
    { codec },
  )
}

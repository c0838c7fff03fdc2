// Items of fetch and subscribe in the two formats (protocol.md 6.2).

import {
  type BatchRecord,
  type Codec,
  openBatch,
  readBatchHeader,
  supportedCodecs,
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
/** Keys and values in one frame, about: a small batch may decompress to much. */
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
  const items: Frame[] = []
  let elements = 0
  let bytes = 0
  /** Copies what the frame has room for: what a batch decompresses to is not kept. @returns the offset of the first record left out, if there is one */
  const take = (base: number, records: readonly BatchRecord[]): number | undefined => {
    for (const record of records) {
      const offset = base + record.offsetDelta
      if (offset < from) continue
      const { timestamp, key, value, headers } = record
      elements += elementsPerRecord + headers.length
      bytes += (key?.length ?? 0) + (value?.length ?? 0)
      const isFull = elements > recordElementsMax || bytes > recordBytesMax
      if (isFull && items.length > 0) return offset
      if (bytes > oneRecordBytesMax)
        throw new LogloomError(
          'MESSAGE_TOO_LARGE',
          `the record at offset ${offset} has ${bytes} bytes, format "records" carries ${oneRecordBytesMax}: read it with format "batches"`,
          { limit: oneRecordBytesMax, actual: bytes, offset },
        )
      items.push({
        offset,
        timestamp,
        key: key && Uint8Array.from(key),
        value: value && Uint8Array.from(value),
        headers: Object.fromEntries(headers.map(([name, held]) => [name, Uint8Array.from(held)])),
      })
    }
    return undefined
  }
  for (const item of result.items) {
    if (item.kind === 'gap') {
      items.push(gapItem(item))
      elements += elementsPerRecord
      continue
    }
    const codec = foreignCodec(item.batch, ownCodecs)
    if (codec !== undefined && items.length > 0) return { items, next: item.offset }
    if (codec !== undefined) throw unsupported(codec, ownCodecs)
    try {
      // Opening may take more than this turn, for which the batch is valid.
      const full = await openBatch(item.batch.slice(), records => take(item.offset, records), true)
      if (full !== undefined) return { items, next: full }
    } catch (error) {
      if (!(error instanceof LogloomError) || error.code !== 'BATCH_CORRUPT') throw error
      items.push({
        gap: 'corrupt',
        offset: Math.max(from, item.offset),
        next: item.offset + item.span,
      })
    }
  }
  return { items, next: result.next }
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

// The JSON form of a consumed record: one object per line, `{ topic, partition, offset, timestamp, key, value, headers }`.
//
// Bytes that are UTF-8 become strings, others `{ base64 }`; null stays null. A header name that repeats shows its last value.

import { isUtf8 } from 'node:buffer'
import { printableJson } from './printable.ts'
import type { FormattableRecord, RecordWriter } from './record-format.ts'

type JsonBytes = string | { readonly base64: string } | null

/** Writes a record as NDJSON. */
export const writeRecordJson: RecordWriter = (record, sink) => {
  sink.text(printableJson(jsonOf(record)))
  sink.byte(10)
}

function jsonOf(record: FormattableRecord): object {
  const { topic, partition, offset, timestamp, key, value } = record
  const headers = Object.fromEntries(record.headers.map(([name, bytes]) => [name, text(bytes)]))
  return { topic, partition, offset, timestamp, key: text(key), value: text(value), headers }
}

function text(bytes: Uint8Array | null): JsonBytes {
  if (bytes === null) return null
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return isUtf8(buffer) ? buffer.toString('utf8') : { base64: buffer.toString('base64') }
}

// The bytes of a file loglet's segment file. All numbers big-endian.
//
//   file header, 64 bytes
//    0 u32 magic "LLFL"   4 u32 format 2   8 u64 first position   16 loglet id, 40 bytes, zero padded   56 u32 zero   60 u32 CRC-32 of [0, 60)
//   record, 40 bytes and its body
//    0 u32 magic "LREC"   4 u8 type   5 zero ×3   8 u64 position   16 u64 durable watermark   24 u32 body length   28 u32 CRC of the record before
//   32 u32 CRC-32 of header [0, 32) and body     36 u32 CRC-32 of header [0, 36), seeded with the salt of the file      40 body
//   trailer of a closed file, 16 bytes: u64 offset of its index record, u32 magic "LEND", u32 CRC-32 of [0, 12)
//
// Types: 1 data (body = the entry), 2 seal, 3 watermark, 4 index (body = pairs of u64 position, u64 file offset), 5 skip (positions before
// its own are not in this replica). All but data carry the next position. The chain (each record names the CRC of the one before) tells stale bytes from current ones; the header's own
// CRC keeps the length trustworthy when a body is damaged, and its salt (the CRC of the file header) keeps records of other files out: an
// entry may hold a copy of a segment file. The watermark says: bytes below this offset of this file were synced.

import { crc32, crcThrough } from '../../wire/crc32.ts'
import { getU64, setU64 } from '../../wire/u64.ts'

export const fileHeaderBytes = 64
export const recordHeaderBytes = 40
export const trailerBytes = 16
export const idBytesMax = 40
const fileMagic = 0x4c4c464c
const recordMagic = 0x4c524543
const trailerMagic = 0x4c454e44
const format = 2

export const recordType = { data: 1, seal: 2, watermark: 3, index: 4, skip: 5 } as const

export interface RecordHeader {
  readonly type: number
  readonly position: number
  readonly watermark: number
  readonly length: number
  readonly previousCrc: number
  readonly crc: number
}

export function encodeFileHeader(id: string, first: number): Uint8Array {
  const bytes = new Uint8Array(fileHeaderBytes)
  const view = viewOf(bytes)
  view.setUint32(0, fileMagic)
  view.setUint32(4, format)
  setU64(view, 8, first)
  bytes.set(new TextEncoder().encode(id), 16)
  view.setUint32(60, crc32(bytes.subarray(0, 60)))
  return bytes
}

/** The first position, or undefined when this is no header of that loglet. */
export function decodeFileHeader(bytes: Uint8Array, id: string): number | undefined {
  if (bytes.length < fileHeaderBytes) return undefined
  const view = viewOf(bytes)
  if (view.getUint32(0) !== fileMagic || view.getUint32(60) !== crc32(bytes.subarray(0, 60)))
    return undefined
  if (view.getUint32(4) !== format)
    throw new Error(
      `segment file format ${view.getUint32(4)} is not the one that this version reads (${format})`,
    )
  const stored = new TextDecoder().decode(bytes.subarray(16, 56)).replace(/\0+$/, '')
  return stored === id ? getU64(view, 8) : undefined
}

/** The salt of a file's record headers; also the CRC that its first record names as its predecessor's. Needs no readable file header. */
export function saltOf(id: string, first: number): number {
  return viewOf(encodeFileHeader(id, first)).getUint32(60)
}

/** Writes a record header at `at` of `target`; returns the record's CRC. */
export function encodeRecordHeader(
  target: Uint8Array,
  at: number,
  header: Omit<RecordHeader, 'crc'>,
  body: readonly Uint8Array[],
  salt: number,
): number {
  const view = new DataView(target.buffer, target.byteOffset + at, recordHeaderBytes)
  view.setUint32(0, recordMagic)
  view.setUint32(4, header.type << 24)
  setU64(view, 8, header.position)
  setU64(view, 16, header.watermark)
  view.setUint32(24, header.length)
  view.setUint32(28, header.previousCrc)
  let crc = crc32(target.subarray(at, at + 32))
  for (const buffer of body) crc = crcThrough(buffer, crc)
  view.setUint32(32, crc)
  view.setUint32(36, crc32(target.subarray(at, at + 36), salt))
  return crc
}

/** The header at `at`, or undefined when there is none of this file that is whole. Says nothing about the body. */
export function decodeRecordHeader(
  bytes: Uint8Array,
  at: number,
  salt: number,
): RecordHeader | undefined {
  if (at + recordHeaderBytes > bytes.length) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, recordHeaderBytes)
  if (view.getUint32(0) !== recordMagic) return undefined
  if (view.getUint32(36) !== crc32(bytes.subarray(at, at + 36), salt)) return undefined
  return {
    type: view.getUint8(4),
    position: getU64(view, 8),
    watermark: getU64(view, 16),
    length: view.getUint32(24),
    previousCrc: view.getUint32(28),
    crc: view.getUint32(32),
  }
}

/** Whether the body after the header at `at` is the one that was written. */
export function bodyMatches(bytes: Uint8Array, at: number, header: RecordHeader): boolean {
  const end = at + recordHeaderBytes + header.length
  if (end > bytes.length) return false
  const crc = crc32(bytes.subarray(at + recordHeaderBytes, end), crc32(bytes.subarray(at, at + 32)))
  return crc === header.crc
}

/** First offset at or past `from` with a whole record header; -1 when there is none. */
export function findRecord(bytes: Uint8Array, from: number, salt: number): number {
  const last = bytes.length - recordHeaderBytes
  for (let at = from; at <= last; at++) {
    if (bytes[at] !== 0x4c) continue
    if (decodeRecordHeader(bytes, at, salt) !== undefined) return at
  }
  return -1
}

export function encodeTrailer(indexOffset: number): Uint8Array {
  const bytes = new Uint8Array(trailerBytes)
  const view = viewOf(bytes)
  setU64(view, 0, indexOffset)
  view.setUint32(8, trailerMagic)
  view.setUint32(12, crc32(bytes.subarray(0, 12)))
  return bytes
}

/** Offset of the index record, or undefined when the file was not closed. */
export function decodeTrailer(bytes: Uint8Array): number | undefined {
  if (bytes.length < trailerBytes) return undefined
  const view = viewOf(bytes)
  if (view.getUint32(8) !== trailerMagic || view.getUint32(12) !== crc32(bytes.subarray(0, 12)))
    return undefined
  return getU64(view, 0)
}

export function encodeIndex(points: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(points.length * 8)
  const view = viewOf(bytes)
  points.forEach((value, i) => setU64(view, i * 8, value))
  return bytes
}

export function decodeIndex(bytes: Uint8Array): number[] {
  const view = viewOf(bytes)
  return Array.from({ length: bytes.length / 8 }, (_, i) => getU64(view, i * 8))
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

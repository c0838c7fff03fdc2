// Bytes of a snapshot archive, version 1, big-endian (docs/adr/0007-snapshots.md). One file, no names in it that become paths:
//
//   "LLSNAP" u8 0 u8 version
//   chunk …        u8 type   u8 0   u16 0   u32 payload length   u32 number, from 0   u32 CRC-32 of these 12 bytes and the payload   payload
//   trailer        "LLSNAPND"   u64 position of the footer chunk   u32 CRC-32 of the 16 bytes before
//
//   head 1         msgpack map: what the archive is of            first
//   topics 2       page of rows (rows.ts)                         then; a topic's place among all rows is its number, `index`
//   groups 3, shares 4, producers 5, security 6                   pages of rows
//   batches 7      u32 topic index   u32 partition   items (items.ts)      partitions in order, offsets in order
//   footer 9       msgpack map: totals, SHA-256 of everything before it    last
//
// A number and a length under the CRC make every lost, doubled or exchanged chunk show; the SHA-256 makes what was changed with a matching CRC show.

import { crc32 } from '../../wire/crc32.ts'
import { LogloomError } from '../../wire/errors.ts'
import { getU64, setU64 } from '../../wire/u64.ts'

export const archiveVersion = 1
export const magicBytes = 8
export const chunkHeaderBytes = 16
export const trailerBytes = 20
export const placeBytes = 8
/** Payload of one chunk: the largest batch that a broker can be set to take, and more. */
export const chunkBytesMax = 64 << 20
/** Extension of archives; `snapshot list` looks at no other files. */
export const archiveSuffix = '.snapshot'
/** Of a file that is still being written. */
export const partialSuffix = '.partial'

export const chunkTypes = {
  head: 1,
  topics: 2,
  groups: 3,
  shares: 4,
  producers: 5,
  security: 6,
  batches: 7,
  footer: 9,
} as const
export type ChunkType = keyof typeof chunkTypes

const typeNames = new Map(
  Object.entries(chunkTypes).map(([name, code]) => [code as number, name as ChunkType]),
)
const magic = Uint8Array.of(0x4c, 0x4c, 0x53, 0x4e, 0x41, 0x50, 0, archiveVersion)
const trailerMagic = new TextEncoder().encode('LLSNAPND')

export interface ChunkHeader {
  readonly type: ChunkType
  readonly length: number
  readonly number: number
  readonly crc: number
}

export function archiveMagic(): Uint8Array {
  return magic.slice()
}

/** @throws what `damaged` makes of the reason */
export function checkMagic(bytes: Uint8Array, damaged: (reason: string) => Error): void {
  if (bytes.length < magicBytes || magic.subarray(0, 7).some((byte, i) => bytes[i] !== byte))
    throw damaged('this is no snapshot of Logloom')
  if (bytes[7] !== archiveVersion)
    throw damaged(`version ${bytes[7]} of the format is not known here (${archiveVersion})`)
}

/** Header of a chunk whose payload lies in several pieces. */
export function chunkHeader(
  type: ChunkType,
  number: number,
  payload: readonly Uint8Array[],
): Uint8Array {
  const header = new Uint8Array(chunkHeaderBytes)
  const view = new DataView(header.buffer)
  view.setUint8(0, chunkTypes[type])
  view.setUint32(
    4,
    payload.reduce((sum, piece) => sum + piece.length, 0),
  )
  view.setUint32(8, number)
  let crc = crc32(header.subarray(0, 12))
  for (const piece of payload) crc = crc32(piece, crc)
  view.setUint32(12, crc)
  return header
}

/** @throws what `damaged` makes of the reason */
export function parseChunkHeader(
  header: Uint8Array,
  damaged: (reason: string) => Error,
): ChunkHeader {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength)
  const type = typeNames.get(view.getUint8(0))
  if (type === undefined) throw damaged(`chunk type ${view.getUint8(0)} is not known`)
  if (view.getUint8(1) !== 0 || view.getUint16(2) !== 0)
    throw damaged('a reserved field of a chunk is not zero')
  const length = view.getUint32(4)
  if (length > chunkBytesMax)
    throw damaged(`a chunk of ${length} bytes, the limit is ${chunkBytesMax} (chunkBytesMax)`)
  return { type, length, number: view.getUint32(8), crc: view.getUint32(12) }
}

export function isIntact(header: Uint8Array, payload: Uint8Array, { crc }: ChunkHeader): boolean {
  return crc32(payload, crc32(header.subarray(0, 12))) === crc
}

export function trailer(footerAt: number): Uint8Array {
  const bytes = new Uint8Array(trailerBytes)
  const view = new DataView(bytes.buffer)
  bytes.set(trailerMagic)
  setU64(view, 8, footerAt)
  view.setUint32(16, crc32(bytes.subarray(0, 16)))
  return bytes
}

/** Position of the footer chunk. @throws what `damaged` makes of the reason */
export function parseTrailer(bytes: Uint8Array, damaged: (reason: string) => Error): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length !== trailerBytes || trailerMagic.some((byte, i) => bytes[i] !== byte))
    throw damaged('the end of the file is missing, or something follows it')
  if (view.getUint32(16) !== crc32(bytes.subarray(0, 16)))
    throw damaged('the trailer does not match its CRC')
  return getU64(view, 8)
}

/** The error of a file that is not what a snapshot must be. `position`: byte in the file near which it was found. */
export function corrupt(
  path: string,
  position: number,
  reason: string,
  cause?: unknown,
): LogloomError {
  return new LogloomError(
    'SNAPSHOT_CORRUPT',
    `${path}: byte ${position}: ${reason}`,
    { path, position },
    cause === undefined ? {} : { cause },
  )
}

// The bytes of a log entry: one group commit of the broker (DESIGN 5.1).
//
//   0 u8 magic 0xE1   1 u8 version 1   2 u16 flags (bit 0: opens a session)   4 u32 number of commands
//   8 u64 session     16 u64 sequence  24 u64 stamp, ms                       32 commands …
//   command:  0 u8 type   1 u8 flags (bit 0: has an expected offset)   2 u16 zero   4 u32 payload length   8 payload
//   produce:  0 u32 topic id   4 u32 partition   8 u64 expected offset   16 batch
//   publish:  0 u64 producer id   8 u32 epoch   12 u32 sequence   16 u32 batches   20 u32 expectations
//             24 expectations { u32 topic id, u32 partition, u64 offset } …  then { u32 topic id, u32 partition, u32 length, batch } …
//   publish with offsets (type 23):  0 u32 length of a msgpack map, the offsets' commit   4 the map, then as publish
//   relocate: 0 u32 moves   4 { u32 topic id, u32 partition, u64 base offset, u64 expected LSN, u32 expected start, u32 length, batch } …
//   produce with a map (type 40):    0 u32 topic id   4 u32 partition   8 u64 expected offset   16 u32 partitions   20 batch
//   publish with maps (type 41), or with an acknowledgement (type 50):
//                                    0 u32 length of a msgpack map { maps, commit, ack }   4 the map, then as publish
//   restored batches (type 60):      0 u32 topic id   4 u32 partition   8 u64 offset after which they come   16 u32 batches
//                                    20 { u64 offset, u64 next offset, u64 append time, u32 length, batch } …
//   others:   one msgpack map
//
// All big-endian. Batches above `copyBelowBytes` stay views of the frame they came in, so they reach `writev` without a copy;
// smaller ones are copied together, since a view would pin the socket's whole read buffer.
// An unknown version or type stops the node: guessing would make replicas differ.

import { batchHeaderBytes, readBatchHeader } from '../../wire/batch.ts'
import { packFrame } from '../../wire/frame.ts'
import type {
  Command,
  CommandType,
  EntryHeader,
  Expectation,
  LocatedCommand,
  Move,
  ParsedEntry,
  PartitionBatch,
  ProducerIdentity,
} from '../state/commands.ts'
import { getU64, setU64 } from '../../wire/u64.ts'
import { unpackOwn } from '../state/own-frame.ts'
import type { RestoredBatch } from '../state/restore/commands.ts'

const magic = 0xe1
const version = 1
const flagOpens = 1
const flagPresent = 1
export const entryHeaderBytes = 32
const commandHeaderBytes = 8
const produceHeaderBytes = 16
const publishHeaderBytes = 24
const moveHeaderBytes = 32
const restoreHeaderBytes = 20
const restoredHeaderBytes = 28
const copyBelowBytes = 4096
/** A publish that carries consumed offsets. */
const publishCommitCode = 23
/** A produce or publish whose partitions were chosen out of a number of them. */
const mappedProduceCode = 40
const mappedPublishCode = 41
/** A publish that acknowledges records of a share group. */
const ackPublishCode = 50

const typeCodes: Readonly<Record<CommandType, number>> = {
  produce: 1,
  publish: 2,
  createTopic: 3,
  deleteTopic: 4,
  alterTopic: 5,
  initProducer: 6,
  expireProducers: 7,
  trim: 8,
  open: 9,
  expire: 10,
  stamp: 11,
  void: 12,
  deleteRecords: 13,
  retain: 14,
  joinGroup: 15,
  leaveGroup: 16,
  detachMember: 17,
  releasePartitions: 18,
  commitOffsets: 19,
  resetOffsets: 20,
  deleteGroup: 21,
  sweepGroups: 22,
  attachMember: 24,
  relocate: 32,
  compacted: 33,
  addPartitions: 42,
  openShareGroup: 45,
  acquireRecords: 46,
  acknowledgeRecords: 47,
  releaseRecords: 48,
  sweepShareGroups: 49,
  createToken: 51,
  revokeToken: 52,
  sweepTokens: 53,
  createAcls: 54,
  deleteAcls: 55,
  setQuota: 56,
  restoreBatches: 60,
  holdSnapshot: 61,
  releaseSnapshot: 62,
  restoreTopic: 63,
  restoreState: 64,
  finishRestore: 65,
  dropRestore: 66,
}
const typeNames = new Map(
  Object.entries(typeCodes).map(([name, code]) => [code, name as CommandType]),
)
typeNames.set(publishCommitCode, 'publish')
typeNames.set(mappedProduceCode, 'produce')
typeNames.set(mappedPublishCode, 'publish')
typeNames.set(ackPublishCode, 'publish')

/** An entry that this version cannot read: the node must stop rather than diverge. */
export class EntryFormatError extends Error {
  override readonly name = 'EntryFormatError'
  readonly code = 'ENTRY_FORMAT'
}

export interface EncodedEntry {
  /** Header and commands; large batches are the proposer's own views. */
  readonly buffers: Uint8Array[]
  readonly bytes: number
  readonly parsed: ParsedEntry
}

/** Bytes that a command takes in an entry, its own header included; for admission and entry limits. */
export function commandBytes(command: Command): number {
  if (command.type === 'produce')
    return (
      commandHeaderBytes +
      produceHeaderBytes +
      (command.partitions === undefined ? 0 : 4) +
      command.batch.length
    )
  if (command.type === 'publish')
    return (
      commandHeaderBytes +
      publishHeaderBytes +
      (publishPreface(command)?.length ?? 0) +
      command.expect.length * 16 +
      command.batches.reduce((sum, b) => sum + 12 + b.batch.length, 0)
    )
  if (command.type === 'relocate')
    return (
      commandHeaderBytes +
      4 +
      command.moves.reduce((sum, move) => sum + moveHeaderBytes + move.batch.length, 0)
    )
  if (command.type === 'restoreBatches')
    return (
      commandHeaderBytes +
      restoreHeaderBytes +
      command.items.reduce((sum, { batch }) => sum + restoredHeaderBytes + batch.length, 0)
    )
  return commandHeaderBytes + packFrame(controlFields(command)).length
}

/** Encodes one entry. The batches' bytes are not touched unless they are small. */
export function encodeEntry(header: EntryHeader, commands: readonly Command[]): EncodedEntry {
  const writer = new EntryWriter()
  writer.reserve(entryHeaderBytes)
  writer.u8(magic)
  writer.u8(version)
  writer.u16(header.session < 0 ? flagOpens : 0)
  writer.u32(commands.length)
  writer.u64(Math.max(header.session, 0))
  writer.u64(header.sequence)
  writer.u64(header.stamp)
  const located = commands.map(command => writeCommand(writer, command))
  writer.finish()
  const bytes = writer.position
  return { buffers: writer.buffers, bytes, parsed: { header, bytes, commands: located } }
}

/** Parses an entry read from the log. Batches are views of `bytes`. @throws EntryFormatError, whatever the bytes are */
export function parseEntry(bytes: Uint8Array): ParsedEntry {
  try {
    return parse(bytes)
  } catch (cause) {
    if (cause instanceof EntryFormatError) throw cause
    // Past the end, or a batch or a map in it that is none.
    throw new EntryFormatError(`a damaged entry: ${(cause as Error).message}`, { cause })
  }
}

function parse(bytes: Uint8Array): ParsedEntry {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < entryHeaderBytes || view.getUint8(0) !== magic)
    throw new EntryFormatError('not a Logloom entry: bad magic')
  if (view.getUint8(1) !== version)
    throw new EntryFormatError(
      `entry version ${view.getUint8(1)} is newer than this broker knows (${version})`,
    )
  const header = {
    session: (view.getUint16(2) & flagOpens) === 0 ? position(view, 8) : -1,
    sequence: position(view, 16),
    stamp: position(view, 24),
  }
  const commands: LocatedCommand[] = []
  let at = entryHeaderBytes
  for (let n = view.getUint32(4); n > 0; n--) {
    const length = view.getUint32(at + 4)
    commands.push(parseCommand(bytes, view, at, length))
    at += commandHeaderBytes + length
  }
  if (at !== bytes.length)
    throw new EntryFormatError(`entry has ${bytes.length - at} bytes too many`)
  return { header, bytes: bytes.length, commands }
}

/** A number that positions are counted with. */
function position(view: DataView, at: number): number {
  const value = getU64(view, at)
  if (Number.isSafeInteger(value)) return value
  throw new EntryFormatError(`the number at byte ${at} is beyond 2^53 - 1`)
}

/** The parts of a command fill it. */
function checkEnd(at: number, end: number): void {
  if (at === end) return
  throw new EntryFormatError(`a command of the entry ends at byte ${at}, not at ${end}`)
}

function writeCommand(writer: EntryWriter, command: Command): LocatedCommand {
  const batchStarts: number[] = []
  if (command.type === 'produce') {
    writer.reserve(commandHeaderBytes + produceHeaderBytes + 4)
    writer.u8(command.partitions === undefined ? typeCodes.produce : mappedProduceCode)
    writer.u8(command.expect === undefined ? 0 : flagPresent)
    writer.u16(0)
    writer.u32(commandBytes(command) - commandHeaderBytes)
    writer.u32(command.topicId)
    writer.u32(command.partition)
    writer.u64(command.expect ?? 0)
    if (command.partitions !== undefined) writer.u32(command.partitions)
    batchStarts.push(writer.position)
    writer.bytes(command.batch)
  } else if (command.type === 'publish') {
    writer.reserve(commandHeaderBytes)
    writer.u8(publishCode(command))
    writer.u8(command.producer === undefined ? 0 : flagPresent)
    writer.u16(0)
    writer.u32(commandBytes(command) - commandHeaderBytes)
    const preface = publishPreface(command)
    if (preface !== undefined) writer.bytes(preface)
    writer.reserve(publishHeaderBytes + command.expect.length * 16)
    writer.u64(command.producer?.id ?? 0)
    writer.u32(command.producer?.epoch ?? 0)
    writer.u32(command.producer?.sequence ?? 0)
    writer.u32(command.batches.length)
    writer.u32(command.expect.length)
    for (const e of command.expect) {
      writer.u32(e.topicId)
      writer.u32(e.partition)
      writer.u64(e.offset)
    }
    for (const b of command.batches) {
      writer.reserve(12)
      writer.u32(b.topicId)
      writer.u32(b.partition)
      writer.u32(b.batch.length)
      batchStarts.push(writer.position)
      writer.bytes(b.batch)
    }
  } else if (command.type === 'relocate') {
    writer.reserve(commandHeaderBytes + 4)
    writer.u8(typeCodes.relocate)
    writer.u8(0)
    writer.u16(0)
    writer.u32(commandBytes(command) - commandHeaderBytes)
    writer.u32(command.moves.length)
    for (const move of command.moves) {
      writer.reserve(moveHeaderBytes)
      writer.u32(move.topicId)
      writer.u32(move.partition)
      writer.u64(move.base)
      writer.u64(move.lsn)
      writer.u32(move.start)
      writer.u32(move.batch.length)
      batchStarts.push(writer.position)
      writer.bytes(move.batch)
    }
  } else if (command.type === 'restoreBatches') {
    writer.reserve(commandHeaderBytes + restoreHeaderBytes)
    writer.u8(typeCodes.restoreBatches)
    writer.u8(0)
    writer.u16(0)
    writer.u32(commandBytes(command) - commandHeaderBytes)
    writer.u32(command.topicId)
    writer.u32(command.partition)
    writer.u64(command.after)
    writer.u32(command.items.length)
    for (const item of command.items) {
      writer.reserve(restoredHeaderBytes)
      writer.u64(item.offset)
      writer.u64(item.next)
      writer.u64(item.timestamp)
      writer.u32(item.batch.length)
      batchStarts.push(writer.position)
      writer.bytes(item.batch)
    }
  } else {
    const payload = packFrame(controlFields(command))
    writer.reserve(commandHeaderBytes)
    writer.u8(typeCodes[command.type])
    writer.u8(0)
    writer.u16(0)
    writer.u32(payload.length)
    writer.bytes(payload)
  }
  return { command, batchStarts }
}

function parseCommand(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  length: number,
): LocatedCommand {
  const type = typeNames.get(view.getUint8(at))
  const flags = view.getUint8(at + 1)
  if (type === undefined)
    throw new EntryFormatError(`command type ${view.getUint8(at)} is newer than this broker knows`)
  const start = at + commandHeaderBytes
  const end = start + length
  if (end > bytes.length) throw new EntryFormatError('a command reaches past the end of its entry')
  if (type === 'produce') {
    const isMapped = view.getUint8(at) === mappedProduceCode
    const batchStart = start + produceHeaderBytes + (isMapped ? 4 : 0)
    const batch = bytes.subarray(batchStart, end)
    const expect = flags & flagPresent ? position(view, start + 8) : undefined
    return {
      command: {
        type,
        ...(expect === undefined ? {} : { expect }),
        ...(isMapped ? { partitions: view.getUint32(start + produceHeaderBytes) } : {}),
        ...partitionBatch(view, start, batch),
      },
      batchStarts: [batchStart],
    }
  }
  if (type === 'publish' && view.getUint8(at) !== typeCodes.publish) {
    const body = start + 4 + view.getUint32(start)
    const preface = unpackOwn(bytes.subarray(start + 4, body))
    const more = view.getUint8(at) === publishCommitCode ? { commit: preface } : preface
    const { command, batchStarts } = parsePublish(bytes, view, body, end, flags)
    // What is read from the bytes behind it wins.
    return { command: { ...more, ...command }, batchStarts }
  }
  if (type === 'publish') return parsePublish(bytes, view, start, end, flags)
  if (type === 'relocate') return parseRelocate(bytes, view, start, end)
  if (type === 'restoreBatches') return parseRestored(bytes, view, start, end)
  return {
    command: { ...unpackOwn(bytes.subarray(start, end)), type } as Command,
    batchStarts: [],
  }
}

type Publish = Command & { readonly type: 'publish' }

function publishCode({ maps, commit, ack }: Publish): number {
  if (ack !== undefined) return ackPublishCode
  if (maps !== undefined) return mappedPublishCode
  return commit === undefined ? typeCodes.publish : publishCommitCode
}

/** What stands before the body of a publish that has more than batches: u32 length, msgpack map. */
function publishPreface({ maps, commit, ack }: Publish): Uint8Array | undefined {
  if (maps === undefined && commit === undefined && ack === undefined) return undefined
  const isCommitAlone = maps === undefined && ack === undefined
  const fields: Record<string, unknown> = isCommitAlone
    ? { ...commit }
    : present({ maps, commit, ack })
  const map = packFrame(fields)
  const bytes = new Uint8Array(4 + map.length)
  new DataView(bytes.buffer).setUint32(0, map.length)
  bytes.set(map, 4)
  return bytes
}

function parsePublish(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
  flags: number,
): LocatedCommand {
  const producer: ProducerIdentity | undefined =
    flags & flagPresent
      ? {
          id: position(view, start),
          epoch: view.getUint32(start + 8),
          sequence: view.getUint32(start + 12),
        }
      : undefined
  const batchCount = view.getUint32(start + 16)
  const expect: Expectation[] = []
  let at = start + publishHeaderBytes
  for (let n = view.getUint32(start + 20); n > 0; n--, at += 16)
    expect.push({
      topicId: view.getUint32(at),
      partition: view.getUint32(at + 4),
      offset: position(view, at + 8),
    })
  const batches: PartitionBatch[] = []
  const batchStarts: number[] = []
  for (let n = batchCount; n > 0; n--) {
    const length = view.getUint32(at + 8)
    batchStarts.push(at + 12)
    batches.push(partitionBatch(view, at, bytes.subarray(at + 12, at + 12 + length)))
    at += 12 + length
  }
  checkEnd(at, end)
  return {
    command: { type: 'publish', ...(producer === undefined ? {} : { producer }), batches, expect },
    batchStarts,
  }
}

function parseRelocate(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
): LocatedCommand {
  const moves: Move[] = []
  const batchStarts: number[] = []
  let at = start + 4
  for (let n = view.getUint32(start); n > 0; n--) {
    const length = view.getUint32(at + 28)
    const batchStart = at + moveHeaderBytes
    const batch = bytes.subarray(batchStart, batchStart + length)
    moves.push({
      topicId: view.getUint32(at),
      partition: view.getUint32(at + 4),
      base: position(view, at + 8),
      lsn: position(view, at + 16),
      start: view.getUint32(at + 24),
      batch,
      ...(length === 0 ? {} : { header: readBatchHeader(batch) }),
    })
    batchStarts.push(batchStart)
    at = batchStart + length
  }
  checkEnd(at, end)
  return { command: { type: 'relocate', moves }, batchStarts }
}

function parseRestored(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
): LocatedCommand {
  const items: RestoredBatch[] = []
  const batchStarts: number[] = []
  let at = start + restoreHeaderBytes
  for (let n = view.getUint32(start + 16); n > 0; n--) {
    const length = view.getUint32(at + 24)
    const batchStart = at + restoredHeaderBytes
    const batch = bytes.subarray(batchStart, batchStart + length)
    items.push({
      offset: position(view, at),
      next: position(view, at + 8),
      timestamp: position(view, at + 16),
      batch,
      ...(length === 0 ? {} : { header: readBatchHeader(batch) }),
    })
    batchStarts.push(batchStart)
    at = batchStart + length
  }
  checkEnd(at, end)
  const command = {
    type: 'restoreBatches' as const,
    topicId: view.getUint32(start),
    partition: view.getUint32(start + 4),
    after: position(view, start + 8),
    items,
  }
  return { command, batchStarts }
}

function partitionBatch(view: DataView, at: number, batch: Uint8Array): PartitionBatch {
  if (batch.length < batchHeaderBytes)
    throw new EntryFormatError('a batch is shorter than its header')
  return {
    topicId: view.getUint32(at),
    partition: view.getUint32(at + 4),
    batch,
    header: readBatchHeader(batch),
  }
}

/** The msgpack fields of a control command: everything but its type. */
function controlFields(command: Command): Record<string, unknown> {
  const { type: _type, ...fields } = command
  return present(fields)
}

function present(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

/** Writes fields into chunks and lets large byte arrays through as they are. */
class EntryWriter {
  readonly buffers: Uint8Array[] = []
  position = 0
  private chunk = new Uint8Array(512)
  private view = new DataView(this.chunk.buffer)
  private used = 0
  private flushed = 0

  /** Makes room for `length` bytes of fields in one piece. */
  reserve(length: number): void {
    if (this.chunk.length - this.used >= length) return
    this.cut()
    this.chunk = new Uint8Array(Math.max(length, 8192))
    this.view = new DataView(this.chunk.buffer)
    this.used = 0
    this.flushed = 0
  }

  u8(value: number): void {
    this.view.setUint8(this.used, value)
    this.advance(1)
  }

  u16(value: number): void {
    this.view.setUint16(this.used, value)
    this.advance(2)
  }

  u32(value: number): void {
    this.view.setUint32(this.used, value)
    this.advance(4)
  }

  u64(value: number): void {
    setU64(this.view, this.used, value)
    this.advance(8)
  }

  bytes(value: Uint8Array): void {
    if (value.length >= copyBelowBytes) {
      this.cut()
      this.buffers.push(value)
      this.position += value.length
      return
    }
    this.reserve(value.length)
    this.chunk.set(value, this.used)
    this.advance(value.length)
  }

  finish(): void {
    this.cut()
  }

  private advance(length: number): void {
    this.used += length
    this.position += length
  }

  private cut(): void {
    if (this.used > this.flushed) this.buffers.push(this.chunk.subarray(this.flushed, this.used))
    this.flushed = this.used
  }
}

/** Whether an entry only holds batches that are older than itself: put elsewhere, or restored. */
export function isOld({ parsed: { commands } }: EncodedEntry): boolean {
  return commands.every(({ command: { type } }) => type === 'relocate' || type === 'restoreBatches')
}

/** Records that an entry appends. */
export function recordsIn(entry: EncodedEntry): number {
  let records = 0
  for (const { command } of entry.parsed.commands) {
    if (command.type === 'produce') records += command.header.count
    else if (command.type === 'publish') for (const b of command.batches) records += b.header.count
    else if (command.type === 'restoreBatches')
      for (const { header } of command.items) records += header?.count ?? 0
  }
  return records
}

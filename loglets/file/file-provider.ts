// Makes, opens and removes file loglets: `<root>/<id>/<first position>.log`. Absent storage never opens empty (DESIGN 4.1 rule 7).

import {
  LogletExistsError,
  type LogletFailedError,
  LogletLostError,
  type LogletParams,
  type LogletProvider,
  LogletSpecError,
} from '../contract.ts'
import type { Clock, Disk } from '../ports.ts'
import { TailWatch } from '../tail-watch.ts'
import { Appender, type AppendPoint, type SyncReport } from './appender.ts'
import { FileLoglet } from './file-loglet.ts'
import { checkNewest, dropTemporary, dropUnborn, listSegments } from './directory.ts'
import {
  encodeFileHeader,
  encodeRecordHeader,
  fileHeaderBytes,
  idBytesMax,
  recordHeaderBytes,
  recordType,
  saltOf,
} from './format.ts'
import { type Damage, recoverFile, type Recovered } from './recovery.ts'
import { createSegmentFile, segmentName, writeWatermark } from './segment-create.ts'
import { SegmentFile } from './segment-file.ts'
import { SparseIndex } from './sparse-index.ts'
import { readTrimPoint } from './trim-point.ts'

export interface FileLogletProviderOptions {
  readonly disk: Disk
  /** Directory of all file loglets, relative to the disk. */
  readonly root: string
  readonly clock: Clock
  /** The disk failed: the process must stop. */
  readonly onFatal?: (error: LogletFailedError) => void
  readonly observe?: (report: SyncReport) => void
}

const segmentBytesDefault = 64 << 20
const segmentBytesMin = 4096
const segmentBytesLimit = 2 ** 31
const backlogBytesMax = 64 << 20

export class FileLogletProvider implements LogletProvider {
  readonly kind = 'file'
  readonly scope = 'node'
  readonly volatile = false
  private readonly options: FileLogletProviderOptions

  constructor(options: FileLogletProviderOptions) {
    this.options = options
  }

  validate(params: LogletParams): void {
    segmentBytesOf(params)
  }

  async create(id: string, params: LogletParams): Promise<FileLoglet> {
    const segmentBytes = segmentBytesOf(params)
    const { disk, root } = this.options
    const directory = this.directoryOf(id)
    if (id.length > idBytesMax)
      throw new LogletSpecError(`loglet id ${id} is longer than ${idBytesMax} characters`)
    if (await disk.exists(directory)) throw new LogletExistsError(`loglet ${id} exists`, 'refused')
    await disk.mkdir(directory)
    await createSegmentFile(disk, directory, id, 0)
    await disk.syncDir(root)
    const segment = new SegmentFile(disk, `${directory}/${segmentName(0)}`, id, 0)
    const point = {
      segment,
      end: fileHeaderBytes,
      next: 0,
      lastCrc: segment.salt,
      vouched: true,
      index: new SparseIndex(),
    }
    return this.assemble(id, segmentBytes, [segment], point, {
      sealed: false,
      trimPoint: 0,
      damage: [],
    })
  }

  async open(id: string, params: LogletParams): Promise<FileLoglet> {
    const segmentBytes = segmentBytesOf(params)
    const { disk } = this.options
    const directory = this.directoryOf(id)
    await dropTemporary(disk, directory)
    const segments = await listSegments(disk, directory, id)
    try {
      return await this.recover(id, segmentBytes, segments)
    } catch (error) {
      for (const segment of segments) await segment.retire().catch(() => {})
      throw error
    }
  }

  async remove(id: string): Promise<void> {
    const { disk, root } = this.options
    if (!(await disk.exists(this.directoryOf(id)))) return
    await disk.remove(this.directoryOf(id))
    await disk.syncDir(root)
  }

  /** Deletes the files of a loglet but the one named `kept`. */
  async clear(id: string, kept: string): Promise<void> {
    const { disk } = this.options
    const directory = this.directoryOf(id)
    for (const name of await disk.list(directory))
      if (name !== kept) await disk.remove(`${directory}/${name}`)
    await disk.syncDir(directory)
  }

  private directoryOf(id: string): string {
    return `${this.options.root}/${id}`
  }

  private async recover(
    id: string,
    segmentBytes: number,
    segments: SegmentFile[],
  ): Promise<FileLoglet> {
    const { disk } = this.options
    const directory = this.directoryOf(id)
    await dropUnborn(disk, directory, id, segments)
    const last = segments.at(-1)
    if (last === undefined)
      throw new LogletLostError(`loglet ${id} has no files in ${directory}`, 'unknown')
    // A process that died between making a file and syncing its name left a name that a power cut may still take away.
    await disk.syncDir(directory)
    const trimPoint = await readTrimPoint(disk, directory)
    await checkNewest(id, last)
    const found = await recoverFile(await last.file(), last.first, last.salt)
    const point = await this.repair(id, segments, last, found)
    const first = segments[0]?.first ?? 0
    const damage = [...found.damage]
    if (first > trimPoint)
      damage.push({ from: trimPoint, to: first, detail: 'its segment files are missing' })
    const { sealed } = found
    return this.assemble(id, segmentBytes, segments, point, { sealed, trimPoint, damage })
  }

  /**
   * Brings the newest file to what is certain. Whole records past it move to a new file, which is complete and durable under its name
   * before the old one is cut: a crash in between leaves both, and the new one's name tells where it takes over.
   */
  private async repair(
    id: string,
    segments: SegmentFile[],
    last: SegmentFile,
    found: Recovered,
  ): Promise<AppendPoint> {
    const { disk } = this.options
    const directory = this.directoryOf(id)
    const { next, suffix, suffixStart, durableEnd } = found
    if (suffix.length === 0) {
      await cut(last, durableEnd)
      return vouchFor(last, found)
    }
    const path = `${directory}/${segmentName(suffixStart)}`
    const written = await writeSuffix(disk, `${path}.tmp`, id, suffixStart, found)
    if (suffixStart === last.first) await last.release()
    await disk.rename(`${path}.tmp`, path)
    await disk.syncDir(directory)
    if (suffixStart === last.first) segments.pop()
    else await cut(last, durableEnd)
    const segment = new SegmentFile(disk, path, id, suffixStart)
    segments.push(segment)
    return { segment, next, ...written }
  }

  private assemble(
    id: string,
    segmentBytes: number,
    segments: SegmentFile[],
    point: AppendPoint,
    state: {
      readonly sealed: boolean
      readonly trimPoint: number
      readonly damage: readonly Damage[]
    },
  ): FileLoglet {
    const { disk, clock, onFatal, observe } = this.options
    const watch = new TailWatch(Math.max(point.next, state.trimPoint), state.sealed)
    const directory = this.directoryOf(id)
    const appender = new Appender(
      {
        disk,
        clock,
        directory,
        id,
        segmentBytes,
        backlogBytesMax,
        onDurable: (next, sealed) => watch.merge(next, sealed),
        onRoll: segment => segments.push(segment),
        onFatal: error => {
          watch.end(error)
          onFatal?.(error)
        },
        onSync: observe,
      },
      point,
      state.sealed,
    )
    return new FileLoglet({
      disk,
      directory,
      id,
      segments,
      watch,
      appender,
      trimPoint: state.trimPoint,
      damage: state.damage,
    })
  }
}

/** The end of a file that was cut, with a watermark record unless there is one or the disk is full. */
async function vouchFor(segment: SegmentFile, found: Recovered): Promise<AppendPoint> {
  const { next, durableEnd: end, lastCrc, vouched, index } = found
  const { salt } = segment
  const point = { segment, end, next, lastCrc, vouched, index }
  if (vouched) return point
  const crc = await writeWatermark(await segment.file(), { end, next, lastCrc, salt })
  if (crc === undefined) return point
  return { ...point, end: end + recordHeaderBytes, lastCrc: crc, vouched: true }
}

/** Ends a file where it is certain, and syncs it. */
async function cut(segment: SegmentFile, end: number): Promise<void> {
  const file = await segment.file()
  if ((await file.size()) !== end) await file.truncate(end)
  // Also when nothing was cut: what the scan saw may be in the page cache only.
  await file.datasync()
}

/**
 * The suffix in a file of its own, synced; with a watermark record when there is space for one. A seal that lies before it goes with it: a later
 * open looks for the seal in the newest file, and repairs may follow a seal.
 */
async function writeSuffix(
  disk: Disk,
  path: string,
  id: string,
  first: number,
  { suffix, next, sealed }: Recovered,
): Promise<Pick<AppendPoint, 'end' | 'lastCrc' | 'vouched' | 'index'>> {
  const file = await disk.open(path, { create: true })
  const salt = saltOf(id, first)
  const index = new SparseIndex()
  const seal = { type: recordType.seal, position: first, body: new Uint8Array(0) }
  const hasSeal = suffix.some(({ type }) => type === recordType.seal)
  let lastCrc = salt
  let end = fileHeaderBytes
  try {
    await file.write([encodeFileHeader(id, first)], 0)
    for (const { type, position, body } of sealed && !hasSeal ? [seal, ...suffix] : suffix) {
      const head = new Uint8Array(recordHeaderBytes)
      lastCrc = encodeRecordHeader(
        head,
        0,
        { type, position, watermark: fileHeaderBytes, length: body.length, previousCrc: lastCrc },
        [body],
        salt,
      )
      await file.write([head, body], end)
      if (type === recordType.data) index.add(position, end)
      end += recordHeaderBytes + body.length
    }
    await file.datasync()
    const crc = await writeWatermark(file, { end, next, lastCrc, salt })
    if (crc === undefined) return { end, lastCrc, vouched: false, index }
    return { end: end + recordHeaderBytes, lastCrc: crc, vouched: true, index }
  } finally {
    await file.close()
  }
}

function segmentBytesOf(params: LogletParams): number {
  for (const key of Object.keys(params.options))
    if (key !== 'segment.bytes')
      throw new LogletSpecError(`file has no option ${key}: it knows segment.bytes`)
  const text = params.options['segment.bytes']
  if (text === undefined) return segmentBytesDefault
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < segmentBytesMin || value > segmentBytesLimit)
    throw new LogletSpecError(
      `segment.bytes=${text}: use a whole number from ${segmentBytesMin} to ${segmentBytesLimit}`,
    )
  return value
}

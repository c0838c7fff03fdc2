// Segment files of the file loglet: recovery, reading and the offline check of a damaged one (loglets/file).
//
// An input is one byte that names a written loglet, one that names a file of it, and what that file holds now: damaged, cut off, spliced,
// doubled, with sectors of zeros. Rules: only errors of the loglet's classes; no entry that was not written, or with other bytes; it opens again.
// As long as no whole header lies where none was written (disks damage and lose bytes, they hardly ever move them): what lies below the watermark
// of a header that is left is served or reported lost, the offline check knows of every loss, and after a second opening all is as after the first.

import { LogletError, type LogItem, type Position } from '../../../loglets/contract.ts'
import { FileLogletProvider } from '../../../loglets/file/file-provider.ts'
import {
  decodeRecordHeader,
  fileHeaderBytes,
  findRecord,
  recordHeaderBytes,
  recordType,
  saltOf,
} from '../../../loglets/file/format.ts'
import { verifyFileLoglet } from '../../../loglets/file/verify.ts'
import { nodeClock } from '../../../loglets/node-clock.ts'
import { SimDisk } from '../../simulation/sim-disk.ts'
import type { FuzzRandom } from '../random.ts'
import { must, type Target } from '../target.ts'

const id = '000001-fuzzed'
const params = { kind: 'file', options: { 'segment.bytes': '4096' } }
const directory = `loglets/${id}`

interface Written {
  readonly disk: SimDisk
  readonly files: readonly string[]
  readonly contents: readonly Uint8Array[]
}

/** Entries of sizes of all kinds, an empty buffer among the parts now and then. */
function entry(n: number): readonly Uint8Array[] {
  const bytes = new Uint8Array(1 + ((n * 97) % 400)).fill(n + 1)
  return n % 7 === 3 ? [new Uint8Array(new ArrayBuffer(0)), bytes] : [bytes]
}

let written: Promise<readonly Written[]> | undefined
/** The same once it is there. */
let loaded: readonly Written[] | undefined

export const logFiles: Target = {
  name: 'log-files',
  bytesMax: 10_000,
  seeds: async () =>
    (await all()).flatMap(({ contents }, variant) =>
      contents.map((content, file) => Uint8Array.of(variant, file, ...content)),
    ),
  generate: random => (loaded === undefined ? Uint8Array.of(0, 0) : damaged(loaded, random)),
  run: async input => {
    if (input.length < 2) return false
    const worlds = await all()
    const world = worlds[(input[0] as number) % worlds.length] as Written
    const file = (input[1] as number) % world.files.length
    const disk = world.disk.fork()
    const content = input.slice(2)
    await replace(disk, world.files[file] as string, content)
    const report = await classified(() => verifyFileLoglet(disk.fork(), 'loglets', id))
    const seen = await classified(() => openAndRead(disk))
    if (seen === undefined) return false
    const again = await classified(() => openAndRead(disk))
    must(again !== undefined, 'it opens once and not again')
    if (hasStrays(world, file, content)) return true
    checkKept(world, file, content, seen, file === world.files.length - 1)
    if (report !== undefined)
      for (const position of seen.lost)
        must(
          report.damaged.some(({ from, to }) => position >= from && position < to),
          `position ${position} is lost, and the offline check says nothing of it`,
        )
    must(again.tail >= seen.tail, `the tail went from ${seen.tail} back to ${again.tail}`)
    must(
      [...seen.served].every(position => again.served.has(position)),
      'what was served is not served after another opening',
    )
    return true
  },
}

interface Seen {
  readonly served: ReadonlySet<number>
  readonly lost: ReadonlySet<number>
  readonly tail: number
}

/** Undefined for an error of the loglet's own classes. */
async function classified<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof LogletError) return undefined
    throw error
  }
}

async function openAndRead(disk: SimDisk): Promise<Seen> {
  const loglet = await providerOf(disk).open(id, params)
  try {
    const { tail } = await loglet.checkTail()
    const served = new Set<number>()
    const lost = new Set<number>()
    // A gap may claim astronomical positions; what is beyond those that were written is only counted.
    for (let at = 0; at < Math.min(tail, 1000); ) {
      const items = await loglet.readNext(at as Position, tail, 1 << 20)
      must(items.length > 0, `nothing is read at ${at} below the tail ${tail}`)
      for (const item of items) at = take(item, at, served, lost)
    }
    return { served, lost, tail }
  } finally {
    await loglet.close()
  }
}

function take(item: LogItem, at: number, served: Set<number>, lost: Set<number>): number {
  if (item.kind === 'entry') {
    must(item.position === at, `position ${item.position} where ${at} is due`)
    must(
      Buffer.compare(item.bytes, Buffer.concat(entry(at))) === 0,
      `entry ${at} is not the one that was written`,
    )
    served.add(at)
    return at + 1
  }
  must(item.from === at && item.to > at, `a gap from ${item.from} to ${item.to} where ${at} is due`)
  if (item.gap === 'lost')
    for (let n = item.from as number; n < Math.min(item.to, 1000); n++) lost.add(n)
  return item.to
}

/** Whether a whole header lies where another one, or none, was written. */
function hasStrays(world: Written, file: number, content: Uint8Array): boolean {
  const original = world.contents[file] as Uint8Array
  const salt = saltOf(id, Number((world.files[file] as string).slice(-20, -4)))
  for (let at = findRecord(content, 0, salt); at >= 0; at = findRecord(content, at + 1, salt))
    if (
      Buffer.compare(
        original.subarray(at, at + recordHeaderBytes),
        content.subarray(at, at + recordHeaderBytes),
      ) !== 0
    )
      return true
  return false
}

/** What a header that still stands in its place says to be durable must not be gone without a word. */
function checkKept(
  world: Written,
  file: number,
  content: Uint8Array,
  seen: Seen,
  isNewest: boolean,
): void {
  const original = world.contents[file] as Uint8Array
  const path = world.files[file] as string
  const salt = saltOf(id, Number(path.slice(-20, -4)))
  let watermark = 0
  const ends: { readonly position: number; readonly end: number }[] = []
  for (let at = fileHeaderBytes; at < original.length; ) {
    const header = decodeRecordHeader(original, at, salt)
    if (header === undefined) break
    const end = at + recordHeaderBytes + header.length
    if (header.type === recordType.data) ends.push({ position: header.position, end })
    const stands =
      Buffer.compare(
        original.subarray(at, at + recordHeaderBytes),
        content.subarray(at, at + recordHeaderBytes),
      ) === 0
    if (stands) watermark = Math.max(watermark, header.watermark)
    at = end
  }
  for (const { position, end } of ends)
    if (!isNewest || end <= watermark)
      must(
        seen.served.has(position) || seen.lost.has(position),
        `position ${position} was durable and is gone without a word, the tail is ${seen.tail}`,
      )
}

/** What disks do: bits that flip, sectors of zeros or with older content, an end that is missing. */
function damaged(worlds: readonly Written[], random: FuzzRandom): Uint8Array {
  const variant = random.below(worlds.length)
  const { contents } = worlds[variant] as Written
  const file = random.below(contents.length)
  let content = (contents[file] as Uint8Array).slice()
  for (let i = 1 + random.below(4); i > 0 && content.length > 0; i--) {
    const at = random.below(content.length)
    const length = random.oneIn(2) ? 512 - (at % 512) : random.size(600)
    const piece = content.subarray(at, at + length)
    switch (random.below(5)) {
      case 0:
        content[at] = (content[at] as number) ^ (1 << random.below(8))
        break
      case 1:
        piece.fill(0)
        break
      case 2:
        for (let n = 0; n < piece.length; n++) piece[n] = random.u32()
        break
      case 3:
        piece.set(random.pick(contents).subarray(0, piece.length))
        break
      default:
        content = content.slice(0, random.oneIn(2) ? at : Math.max(0, content.length - length))
    }
  }
  return Uint8Array.of(variant, file, ...content)
}

function all(): Promise<readonly Written[]> {
  written ??= Promise.all([
    write(30, 'close'),
    write(9, 'crash'),
    write(14, 'seal'),
    write(3, 'close'),
    write(22, 'crash'),
  ]).then(worlds => {
    loaded = worlds
    return worlds
  })
  return written
}

async function write(entries: number, end: 'close' | 'crash' | 'seal'): Promise<Written> {
  const disk = new SimDisk()
  await disk.mkdir('loglets')
  const loglet = await providerOf(disk).create(id, params)
  for (let n = 0; n < entries; n++) await loglet.append([...entry(n)])
  if (end === 'seal') await loglet.seal()
  if (end === 'crash') disk.crash(() => 'all')
  else await loglet.close()
  const names = (await disk.list(directory)).filter(name => name.endsWith('.log'))
  const files = names.map(name => `${directory}/${name}`)
  return { disk, files, contents: files.map(path => disk.content(path).slice()) }
}

async function replace(disk: SimDisk, path: string, content: Uint8Array): Promise<void> {
  const file = await disk.open(path)
  await file.truncate(0)
  await file.write([content], 0)
  await file.datasync()
  await file.close()
}

function providerOf(disk: SimDisk): FileLogletProvider {
  return new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock })
}

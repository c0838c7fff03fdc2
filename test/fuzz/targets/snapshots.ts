// Archives of snapshots: mutated files, and archives made of mutated chunks whose numbers, lengths, CRCs, SHA-256 and totals are right.
//
// Rules: SNAPSHOT_CORRUPT or a snapshot; the summary says the same as the whole; what was taken, written and read again is the same; every
// offset of every partition is there once; time fits the size.

import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { ArchiveReader } from '../../../broker/snapshot/archive-reader.ts'
import {
  ArchiveCheck,
  checkArchive,
  placeOf,
  readSummary,
} from '../../../broker/snapshot/check-archive.ts'
import {
  archiveMagic,
  chunkHeader,
  chunkHeaderBytes,
  chunkTypes,
  type ChunkType,
  magicBytes,
  trailer,
  trailerBytes,
} from '../../../broker/snapshot/format.ts'
import { parseItems } from '../../../broker/snapshot/items.ts'
import {
  packNumbers,
  packPage,
  parseTopics,
  producerRow,
  shareGroupRow,
  topicRow,
} from '../../../broker/snapshot/rows.ts'
import { crc32 } from '../../../wire/crc32.ts'
import { packFrame } from '../../../wire/frame.ts'
import { batchesOf, goodParts, head, type Part, topic, two } from '../../snapshot/archives.ts'
import { inTime } from '../in-time.ts'
import { MsgpackMaker } from '../msgpack-maker.ts'
import { Mutator } from '../mutator.ts'
import type { FuzzRandom } from '../random.ts'
import { must, refusedWith, type Target } from '../target.ts'

const codes = new Set(['SNAPSHOT_CORRUPT'])
const messageCharactersMax = 2000
const bytesMax = 16_384
const names = Object.keys(chunkTypes) as readonly ChunkType[]
const nameOf = new Map(names.map(name => [chunkTypes[name] as number, name]))
let directory: string | undefined
let maker: MsgpackMaker | undefined
let mutator: { readonly of: FuzzRandom; readonly it: Mutator } | undefined

export const snapshots: Target = {
  name: 'snapshots',
  bytesMax,
  seeds: () => seedParts().map(parts => sealed(parts)),
  generate: random => sealed(changed(random)),
  reseal,
  run: input => inTime(input, () => read(input)),
  close: () => {
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
    directory = undefined
    return Promise.resolve()
  },
}

async function read(input: Uint8Array): Promise<boolean> {
  directory ??= mkdtempSync(join(tmpdir(), 'logloom-fuzz-'))
  const path = join(directory, 'a.snapshot')
  writeFileSync(path, input)
  let checked: Awaited<ReturnType<typeof checkArchive>>
  try {
    checked = await checkArchive(path)
  } catch (error) {
    const { message } = error as Error
    must(message.length <= messageCharactersMax, 'the error repeats what was in the file')
    // What is listed need not be whole.
    await readSummary(path).catch((other: unknown) => refusedWith(other, codes))
    return refusedWith(error, codes)
  }
  const { head: ofWhole, totals, sha256, topics } = checked
  const summary = await readSummary(path)
  must(
    isDeepStrictEqual(summary, { head: ofWhole, totals, sha256, bytes: input.length }),
    'the summary differs',
  )
  must(
    isDeepStrictEqual(parseTopics(packPage(topics.map(topicRow))), topics),
    'topics change when written',
  )
  await everyOffset(path, checked)
  return true
}

/** Counts with no eye on what the check has counted. */
async function everyOffset(
  path: string,
  { topics, totals }: Awaited<ReturnType<typeof checkArchive>>,
): Promise<void> {
  const next = new Map<string, number>()
  let records = 0
  const reader = await ArchiveReader.open(path)
  try {
    for await (const chunk of reader.chunks()) {
      if (chunk.type !== 'batches') continue
      const { index, partition, items } = placeOf(path, chunk)
      for (const item of parseItems(items, bytesMax)) {
        const place = `${index}[${partition}]`
        must(item.offset >= (next.get(place) ?? 0), 'offsets twice')
        next.set(place, item.next)
        records += item.header?.count ?? 0
      }
    }
  } finally {
    await reader.close()
  }
  must(records === totals.records, 'another count of records')
  for (const [index, { ranges }] of topics.entries())
    for (const [partition, [start, end]] of ranges.entries())
      must(start === end || next.get(`${index}[${partition}]`) === end, 'a partition ends early')
}

function seedParts(): Part[][] {
  const second = {
    ...topic,
    topic: 'second',
    epochs: [[1, []]] as const,
    ranges: [[3, 9]] as const,
  }
  const share = {
    group: 's',
    deliveryCountLimit: 5,
    keepsDead: true,
    topics: [0],
    partitions: [[0, 0, 4, [1, 1, 0, 0], [[2, 1]]]] as const,
  }
  const key = { k: 'key', i: 'a'.repeat(16), p: 'User:a', h: new Uint8Array(32), d: 'd', c: 1000 }
  const acl = {
    k: 'acl',
    principal: 'User:*',
    resource: 'topic',
    name: 'orders',
    operation: 'read',
  }
  const rows: readonly (readonly [ChunkType, readonly unknown[]])[] = [
    ['topics', [topicRow(topic), topicRow(second)]],
    [
      'groups',
      [
        { g: 'g', a: 'range', o: [[0, 0, 3, 'm', 1600]] },
        { g: 'g', a: 'range', o: [[1, 0, 9, '', 0]] },
      ],
    ],
    ['shares', [shareGroupRow(share)]],
    ['producers', [producerRow({ id: 3, epoch: 1, transactionalId: 'User:a tx' })]],
    ['security', [key, acl, { k: 'quota', p: 'User:*', q: { producerByteRate: 100 } }]],
  ]
  return [
    goodParts(),
    [
      ['head', packFrame({ ...head })],
      ...rows.map(([type, page]): Part => [type, packPage(page)]),
      [
        'batches',
        batchesOf(0, 0, [
          [0, 2, 1500, two],
          [2, 4, 1600, two],
        ]),
      ],
      [
        'batches',
        batchesOf(1, 0, [
          [2, 4, 1500, two],
          [4, 9, 1500, new Uint8Array()],
        ]),
      ],
    ],
    [
      ['head', packFrame({ ...head })],
      ['topics', packPage([{ ...(topicRow(topic) as object), r: packNumbers([0, 2, 0, 0]) }])],
      ['batches', batchesOf(0, 0, [[0, 2, 1500, two]])],
    ],
    [['head', packFrame({ ...head })]],
  ]
}

/** A good archive with a chunk or two that are not as they were. */
function changed(random: FuzzRandom): Part[] {
  const parts = [...random.pick(seedParts())]
  if (maker?.random !== random) maker = new MsgpackMaker(random)
  if (mutator?.of !== random) mutator = { of: random, it: new Mutator(random, bytesMax / 2) }
  for (let changes = random.below(3); changes > 0; changes--) {
    const at = random.below(parts.length)
    const [type, payload] = parts[at] as Part
    const other = random.pick(parts)[1]
    const kind = random.below(12)
    if (kind === 0) parts.splice(at, 1)
    else if (kind === 1) parts.splice(at, 0, random.pick(parts))
    else if (kind === 2) parts[at] = [random.pick(names.slice(0, -1)), payload]
    else if (kind === 3) {
      maker.begin()
      maker.map(1)
      maker.text('rows')
      maker.value(5)
      parts[at] = [type, maker.end().slice()]
    } else parts[at] = [type, mutator.it.mutate(payload, other).slice()]
    if (parts.length === 0) break
  }
  return parts
}

/** The bytes of an archive: what can be right about it is, totals included. */
function sealed(parts: readonly Part[]): Uint8Array {
  const check = new ArchiveCheck('')
  try {
    for (const [type, payload] of parts) check.take({ type, at: 0, payload }, new Uint8Array())
  } catch {
    // It will be refused for that; the totals are those of the part before.
  }
  const pieces: Uint8Array[] = [archiveMagic()]
  for (const [number, [type, payload]] of parts.entries())
    pieces.push(chunkHeader(type, number, [payload]), payload)
  const before = Buffer.concat(pieces)
  const sha256 = createHash('sha256').update(before).digest()
  const footer = packFrame({ ...check.counted, sha256 })
  const header = chunkHeader('footer', parts.length, [footer])
  return Uint8Array.from(Buffer.concat([before, header, footer, trailer(before.length)]))
}

/** Follows the lengths; numbers, CRCs, the SHA-256 where the footer has it, and the trailer are made to match. */
function reseal(input: Uint8Array, random: FuzzRandom): void {
  const end = input.length - trailerBytes
  if (end < magicBytes + chunkHeaderBytes) return
  const view = new DataView(input.buffer, input.byteOffset, input.length)
  let at = magicBytes
  for (let number = 0; at + chunkHeaderBytes <= end; number++) {
    const start = at + chunkHeaderBytes
    const said = view.getUint32(at + 4)
    if (start + said > end && !random.oneIn(8)) view.setUint32(at + 4, end - start)
    const next = Math.min(end, start + view.getUint32(at + 4))
    if (!random.oneIn(16)) view.setUint32(at + 8, number)
    const isLast = next === end
    if (isLast && nameOf.get(input[at] ?? 0) === 'footer') {
      const place = Buffer.from(input.buffer, input.byteOffset + start, next - start).indexOf(
        'sha256',
      )
      const digest = start + place + 8
      if (place >= 0 && digest + 32 <= next)
        input.set(createHash('sha256').update(input.subarray(0, at)).digest(), digest)
    }
    view.setUint32(at + 12, crc32(input.subarray(start, next), crc32(input.subarray(at, at + 12))))
    if (isLast) {
      input.set(trailer(at), end)
      return
    }
    at = next
  }
}

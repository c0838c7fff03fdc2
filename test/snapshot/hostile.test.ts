// An archive that somebody made to do harm: its CRCs and its SHA-256 are right, what it says is not. It is refused before anything is written, and no
// file but itself is looked at.

import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { assert, oneof, property, uint8Array, constantFrom, nat, tuple } from 'fast-check'
import { listSnapshots } from '../../broker/cli/snapshot-list.ts'
import { restoreSnapshot } from '../../broker/cli/snapshot-restore.ts'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { noTotals } from '../../broker/snapshot/check-archive.ts'
import { ItemsError, parseItems } from '../../broker/snapshot/items.ts'
import {
  packNumbers,
  packPage,
  parseGroups,
  parseProducers,
  parseRights,
  parseShareGroups,
  parseTopics,
  RowsError,
  shareGroupRow,
  topicRow,
} from '../../broker/snapshot/rows.ts'
import { compressBatch, encodeBatch, stampProducer } from '../../wire/batch.ts'
import { LogloomError } from '../../wire/errors.ts'
import { packFrame } from '../../wire/frame.ts'
import {
  batchesOf,
  goodParts,
  goodTotals,
  head,
  type Part,
  topic,
  two,
  writeArchive,
} from './archives.ts'
import { connected } from './dump.ts'

let directory: string
let broker: RunningBroker

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'logloom-hostile-'))
  broker = await startBroker({ loglet: 'memory', port: 0 })
})
afterEach(async () => {
  await broker.close()
  await rm(directory, { recursive: true, force: true })
})

/** The good archive with one part in place of another. */
function withPart(type: Part[0], payload: Uint8Array): Part[] {
  return goodParts().map((part): Part => (part[0] === type ? [type, payload] : part))
}

const named = (name: string): Uint8Array => packPage([topicRow({ ...topic, topic: name })])
const row = topicRow(topic) as Record<string, unknown>
const topics = (change: Record<string, unknown>): Part[] =>
  withPart('topics', packPage([{ ...row, ...change }]))
const group = (offsets: unknown): Part[] =>
  withPart('groups', packPage([{ g: 'g', a: 'sticky', o: offsets }]))
const huge = (): Uint8Array => {
  const bytes = packNumbers([0, 0, 0, 0])
  bytes.set([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 8)
  return bytes
}

/** A batch that claims to be 4 GiB once it is opened. */
async function bomb(): Promise<Uint8Array> {
  const zeros = encodeBatch([{ value: Buffer.alloc(100_000) }], { now: 1500 })
  const batch = Buffer.from(await compressBatch(zeros, 'gzip'))
  batch.writeUInt32BE(0xffff_ffff, 24)
  stampProducer(batch, { producerId: 0, producerEpoch: 0, baseSequence: 0 })
  return batch
}

const hostile: Readonly<Record<string, () => Part[] | Promise<Part[]>>> = {
  'a name that climbs': () => withPart('topics', named('../../../../etc/passwd')),
  'an absolute name': () => withPart('topics', named('/etc/passwd')),
  'the name of a folder': () => withPart('topics', named('..')),
  'a name with a zero byte': () => withPart('topics', named('a\u0000b')),
  'a name too long': () => withPart('topics', named('x'.repeat(250))),
  'an empty name': () => withPart('topics', named('')),
  'a name that is a number': () => topics({ n: 7 }),
  'one topic twice': () => withPart('topics', packPage([row, row])),
  'offsets beyond 2^53': () => topics({ r: huge() }),
  'an end before the start': () => topics({ r: packNumbers([4, 0, 0, 0]) }),
  'more partitions than bounds': () => topics({ r: packNumbers([0, 4]) }),
  'more partitions than can be': () => topics({ e: [[300_000, new Uint8Array()]] }),
  'no partitions': () => topics({ e: [], r: new Uint8Array() }),
  'epochs that shrink': () =>
    topics({
      e: [
        [2, new Uint8Array()],
        [1, packNumbers([0, 0])],
      ],
      r: packNumbers([0, 4]),
    }),
  'configuration that is a list': () => topics({ c: ['retention.ms', '1'] }),
  'configuration values that are maps': () => topics({ c: { 'retention.ms': {} } }),
  'a thousand configuration keys': () =>
    topics({ c: Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`k${i}`, 'v'])) }),
  'rows that are no list': () => withPart('topics', packFrame({ rows: 'all' })),
  'a page that is no msgpack': () => withPart('topics', Buffer.from([0xc1, 0xff])),
  'nesting without end': () =>
    withPart('topics', Buffer.concat([Buffer.alloc(50_000, 0x91), Buffer.from([0xc0])])),
  'a list of four billion': () =>
    withPart(
      'topics',
      Buffer.from([0x81, 0xa4, ...Buffer.from('rows'), 0xdd, 0xff, 0xff, 0xff, 0xff]),
    ),
  'an extension type': () => withPart('topics', Buffer.from([0x81, 0xa1, 0x61, 0xd4, 0x01, 0x00])),
  'a group of a topic that is not there': () => group([[7, 0, 0, '', 0]]),
  'a group of a partition that is not there': () => group([[0, 9, 0, '', 0]]),
  'an offset past the end': () => group([[0, 0, 5, '', 0]]),
  'a negative offset': () => group([[0, 0, -1, '', 0]]),
  'a fraction': () => group([[0, 0, 0.5, '', 0]]),
  'metadata without end': () => group([[0, 0, 0, 'x'.repeat(10_000), 0]]),
  'a group name with control characters': () =>
    withPart('groups', packPage([{ g: 'a\u001b[2J', a: 'sticky', o: [] }])),
  'an assignor of its own': () => withPart('groups', packPage([{ g: 'g', a: 'evil', o: [] }])),
  'one name for two kinds of groups': () => {
    const share = {
      group: 'g',
      deliveryCountLimit: 1,
      keepsDead: false,
      topics: [],
      partitions: [],
    }
    return goodParts().flatMap((part): Part[] =>
      part[0] === 'groups' ? [part, ['shares', packPage([shareGroupRow(share)])]] : [part],
    )
  },
  'a producer above the counter': () => withPart('producers', packPage([{ i: 99, e: 0, x: 'tx' }])),
  'a right of its own': () =>
    goodParts().flatMap((part): Part[] =>
      part[0] === 'producers' ? [part, ['security', packPage([{ k: 'root' }])]] : [part],
    ),
  'a hash that is too short': () =>
    goodParts().flatMap((part): Part[] => {
      const key = { k: 'key', i: 'a'.repeat(16), p: 'User:a', h: Buffer.alloc(8), d: '', c: 0 }
      return part[0] === 'producers' ? [part, ['security', packPage([key])]] : [part]
    }),
  'no head': () => goodParts().slice(1),
  'two heads': () => [goodParts()[0] as Part, ...goodParts()],
  'a head without position': () => withPart('head', packFrame({ ...head, position: 'here' })),
  'topics after batches': () => [...goodParts(), ['topics', packPage([row])]],
  'batches of a topic that is not there': () =>
    withPart('batches', batchesOf(5, 0, [[0, 2, 1500, two]])),
  'batches of a partition that is not there': () =>
    withPart('batches', batchesOf(0, 2, [[0, 2, 1500, two]])),
  'batches past the end': () =>
    withPart(
      'batches',
      batchesOf(0, 0, [
        [0, 2, 1500, two],
        [2, 4, 1500, two],
        [4, 6, 1500, two],
      ]),
    ),
  'too few batches': () => withPart('batches', batchesOf(0, 0, [[0, 2, 1500, two]])),
  'no batches': () => goodParts().filter(([type]) => type !== 'batches'),
  'batches one over the other': () =>
    withPart(
      'batches',
      batchesOf(0, 0, [
        [0, 2, 1500, two],
        [1, 3, 1500, two],
      ]),
    ),
  'a batch of other offsets than it says': () =>
    withPart('batches', batchesOf(0, 0, [[0, 4, 1500, two]])),
  'append times that go back': () =>
    withPart(
      'batches',
      batchesOf(0, 0, [
        [0, 2, 1600, two],
        [2, 4, 1500, two],
      ]),
    ),
  'append times after the snapshot': () =>
    withPart(
      'batches',
      batchesOf(0, 0, [
        [0, 2, 1500, two],
        [2, 4, 3_000_000, two],
      ]),
    ),
  'a batch with a wrong CRC': () => {
    const bad = Buffer.from(two)
    bad[bad.length - 1] = (bad[bad.length - 1] as number) ^ 1
    return withPart(
      'batches',
      batchesOf(0, 0, [
        [0, 2, 1500, two],
        [2, 4, 1600, bad],
      ]),
    )
  },
  'a batch that claims gigabytes': async () =>
    withPart('batches', batchesOf(0, 0, [[0, 1, 1500, await bomb()]])),
  'an item that ends early': () =>
    withPart('batches', batchesOf(0, 0, [[0, 2, 1500, two]]).subarray(0, 50)),
}

describe('an archive made to do harm', () => {
  it.each(Object.keys(hostile))('is refused: %s', async what => {
    const path = join(directory, 'bad.snapshot')
    const parts = await (hostile[what] as () => Part[] | Promise<Part[]>)()
    await writeArchive(path, parts)
    const { applied } = broker.broker
    const before = await readFile(path)
    await connected(broker.url, async connection => {
      await expect(restoreSnapshot(connection, path)).rejects.toMatchObject({
        code: 'SNAPSHOT_CORRUPT',
        details: { path },
      })
    })
    expect(broker.broker.applied).toBe(applied)
    expect(await readdir(directory)).toEqual(['bad.snapshot'])
    expect((await readFile(path)).equals(before)).toBe(true)
    expect(Object.keys(Object.prototype)).toEqual([])
  })

  it('is refused when its totals are not what it holds', async () => {
    const path = join(directory, 'bad.snapshot')
    await writeArchive(path, goodParts(), { ...goodTotals, records: 5 })
    await connected(broker.url, connection =>
      expect(restoreSnapshot(connection, path)).rejects.toMatchObject({ code: 'SNAPSHOT_CORRUPT' }),
    )
  })

  it('takes no memory for a chunk that the file cannot hold', async () => {
    const path = join(directory, 'bad.snapshot')
    await writeArchive(path, goodParts())
    const bytes = await readFile(path)
    for (const length of [0xffff_ffff, 64 << 20, 1 << 20]) {
      bytes.writeUInt32BE(length, 12)
      await writeFile(path, bytes)
      const before = process.memoryUsage().arrayBuffers
      await connected(broker.url, connection =>
        expect(restoreSnapshot(connection, path)).rejects.toMatchObject({
          code: 'SNAPSHOT_CORRUPT',
        }),
      )
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 << 20)
    }
  })

  it('is not followed to another file, nor waited for, nor taken for a folder', async () => {
    const real = join(directory, 'real')
    await mkdir(real)
    await writeArchive(join(real, 'good.snapshot'), goodParts())
    const folder = join(directory, 'links')
    await mkdir(folder)
    await symlink(join(real, 'good.snapshot'), join(folder, 'link.snapshot'))
    await mkdir(join(folder, 'folder.snapshot'))
    execFileSync('mkfifo', [join(folder, 'pipe.snapshot')])
    expect(await listSnapshots(folder, { verify: true })).toEqual([])
    await connected(broker.url, async connection => {
      for (const name of ['link', 'folder', 'pipe'])
        await expect(
          restoreSnapshot(connection, join(folder, `${name}.snapshot`)),
        ).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    })
  })

  it('does not put what a configuration key names into prototypes', async () => {
    const path = join(directory, 'bad.snapshot')
    const config = JSON.parse('{"__proto__":"polluted"}') as Record<string, unknown>
    await writeArchive(path, topics({ c: config }))
    await connected(broker.url, connection =>
      expect(restoreSnapshot(connection, path)).rejects.toBeInstanceOf(LogloomError),
    )
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
    expect(broker.broker.topicByName('orders')).toBeUndefined()
  })
})

describe('the readers of pages and items', () => {
  const pages = goodParts().map(([, payload]) => payload)
  /** Anything, or something right with a few bytes changed. */
  const input = oneof(
    uint8Array({ maxLength: 300 }),
    tuple(constantFrom(...pages), nat(), uint8Array({ minLength: 1, maxLength: 4 })).map(
      ([page, at, bytes]) => {
        const changed = Uint8Array.from(page)
        changed.set(bytes.subarray(0, changed.length - (at % changed.length)), at % changed.length)
        return changed
      },
    ),
  )
  const readers = [parseTopics, parseGroups, parseShareGroups, parseProducers, parseRights]

  it('end with an error of theirs or a value, whatever the bytes are', () => {
    assert(
      property(input, bytes => {
        for (const read of [...readers, (b: Uint8Array) => parseItems(b, 1 << 20)])
          try {
            read(bytes)
          } catch (error) {
            const isTheirs =
              error instanceof RowsError ||
              error instanceof ItemsError ||
              error instanceof LogloomError
            if (!isTheirs) throw error
          }
      }),
      { numRuns: 20_000 },
    )
    expect(noTotals().topics).toBe(0)
  })
})

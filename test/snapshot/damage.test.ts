// A damaged archive is found before anything is written: every byte counts.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assert, asyncProperty, integer, nat, uint8Array } from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { listSnapshots } from '../../broker/cli/snapshot-list.ts'
import { restoreSnapshot } from '../../broker/cli/snapshot-restore.ts'
import { startBroker } from '../../broker/index.ts'
import { checkArchive } from '../../broker/snapshot/check-archive.ts'
import { trailer } from '../../broker/snapshot/format.ts'
import { packFrame } from '../../wire/frame.ts'
import { goodParts, goodTotals, head, writeArchive } from './archives.ts'
import { connected } from './dump.ts'

let directory: string
let good: Buffer

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'logloom-damage-'))
  await writeArchive(path('good'), goodParts())
  good = await readFile(path('good'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

function path(name: string): string {
  return join(directory, `${name}.snapshot`)
}

/** @throws unless the bytes are refused as damaged, with file and position */
async function expectCorrupt(bytes: Uint8Array, what: string): Promise<void> {
  const file = path('bad')
  await writeFile(file, bytes)
  const error: unknown = await checkArchive(file).then(
    () => `${what}: taken as it is`,
    (thrown: unknown) => thrown,
  )
  expect(error, what).toMatchObject({ code: 'SNAPSHOT_CORRUPT', details: { path: file } })
  expect((error as { details: { position: unknown } }).details.position).toBeTypeOf('number')
}

/** Chunks of a file, as bytes. */
function chunks(file: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let at = 8; at < file.length - 20; ) {
    const length = 16 + file.readUInt32BE(at + 4)
    found.push(file.subarray(at, at + length))
    at += length
  }
  return found
}

describe('an archive', () => {
  it('is taken when nothing is wrong with it', async () => {
    const { head, totals, topics } = await checkArchive(path('good'))
    expect(totals).toEqual(goodTotals)
    expect(topics).toHaveLength(1)
    expect(head.position).toBe(100)
  })

  it('is refused with any one byte changed', async () => {
    for (let at = 0; at < good.length; at++) {
      const bad = Buffer.from(good)
      bad[at] = (bad[at] as number) ^ (1 << (at % 8))
      await expectCorrupt(bad, `byte ${at}`)
    }
  })

  it('is refused with any bytes changed, cut off or added', async () => {
    await assert(
      asyncProperty(
        nat(good.length - 1),
        uint8Array({ minLength: 1, maxLength: 40 }),
        async (at, bytes) => {
          const bad = Buffer.from(good)
          bad.set(bytes.subarray(0, bad.length - at), at)
          if (!bad.equals(good)) await expectCorrupt(bad, `${bytes.length} bytes at ${at}`)
          await expectCorrupt(Buffer.concat([good, bytes]), 'bytes added')
          const inserted = [good.subarray(0, at), bytes, good.subarray(at)]
          await expectCorrupt(Buffer.concat(inserted), `bytes put in at ${at}`)
        },
      ),
      { numRuns: 150 },
    )
    for (let length = 0; length < good.length; length++)
      await expectCorrupt(good.subarray(0, length), `cut to ${length}`)
  })

  it('is refused with chunks exchanged, doubled or left out', async () => {
    const all = chunks(good)
    const start = good.subarray(0, 8)
    const end = good.subarray(-20)
    await assert(
      asyncProperty(
        nat(all.length - 1),
        nat(all.length - 1),
        integer({ min: 0, max: 2 }),
        async (a, b, how) => {
          const list = [...all]
          if (how === 0) {
            if (a === b) return
            list[a] = all[b] as Buffer
            list[b] = all[a] as Buffer
          } else if (how === 1) list.splice(a, 0, all[b] as Buffer)
          else list.splice(a, 1)
          await expectCorrupt(Buffer.concat([start, ...list, end]), `${how} ${a} ${b}`)
        },
      ),
      { numRuns: 100 },
    )
  })

  it('is refused when parts of two archives are put together', async () => {
    const parts = goodParts()
    parts[0] = ['head', packFrame({ ...head, id: 'another', position: 99 })]
    await writeArchive(path('other'), parts)
    const others = await readFile(path('other'))
    const [mine, theirs] = [chunks(good), chunks(others)]
    for (let at = 1; at < mine.length; at++) {
      const mixed = [...mine.slice(0, at), ...theirs.slice(at)]
      const put = Buffer.concat([good.subarray(0, 8), ...mixed])
      await expectCorrupt(
        Buffer.concat([put, trailer(put.length - (theirs.at(-1) as Buffer).length)]),
        `from ${at}`,
      )
    }
  })

  it('leaves the cluster as it was when it is damaged, and is listed as corrupt', async () => {
    const broker = await startBroker({ loglet: 'memory', port: 0 })
    try {
      const bad = Buffer.from(good)
      const at = bad.indexOf(Buffer.from('orders')) + 1
      bad[at] = (bad[at] as number) ^ 1
      await writeFile(path('bad'), bad)
      await connected(broker.url, async connection => {
        await expect(restoreSnapshot(connection, path('bad'))).rejects.toMatchObject({
          code: 'SNAPSHOT_CORRUPT',
        })
        const { topics } = await connection.call('listTopics')
        expect(topics).toEqual([])
        // Nor is anything of it hidden.
        const before = broker.broker.applied
        expect((await restoreSnapshot(connection, path('good'))).outcome).toBe('restored')
        expect(broker.broker.applied).toBeGreaterThan(before)
      })
      const quick = await listSnapshots(directory, { verify: false })
      expect(quick.map(({ name, state }) => [name, state])).toEqual([
        ['bad.snapshot', 'ok'],
        ['good.snapshot', 'ok'],
      ])
      const found = await listSnapshots(directory, { verify: true })
      expect(found.map(({ name, state }) => [name, state])).toEqual([
        ['bad.snapshot', 'corrupt'],
        ['good.snapshot', 'verified'],
      ])
    } finally {
      await broker.close()
    }
  })
})

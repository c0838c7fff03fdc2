// The file loglet on the real disk: sizes at the limits, entries of many buffers, groups, and readers beside writers.

import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  entryBytesMax,
  type Loglet,
  LogletRefusedError,
  type Position,
} from '../../../loglets/contract.ts'
import type { SyncReport } from '../../../loglets/file/appender.ts'
import { FileLogletProvider } from '../../../loglets/file/file-provider.ts'
import { nodeClock } from '../../../loglets/node-clock.ts'
import { nodeDisk } from '../../../loglets/node-disk.ts'

const id = '000001-abcdef'
const params = (segmentBytes = 64 << 20): { kind: string; options: Record<string, string> } => ({
  kind: 'file',
  options: { 'segment.bytes': String(segmentBytes) },
})

let dir: string
let syncs: SyncReport[]
let provider: FileLogletProvider

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'logloom-file-'))
  syncs = []
  const disk = nodeDisk(dir)
  await disk.mkdir('loglets')
  const observe = (report: SyncReport): void => void syncs.push(report)
  provider = new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock, observe })
})

afterEach(() => rm(dir, { recursive: true }))

/** Bytes that say which entry they belong to and where they are in it. */
function entry(n: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = (n * 31 + i) & 255
  return bytes
}

const sizeOf = (n: number): number => 1 + ((n * 7919) % 3000)

/** Descriptors of this process that lead below the directory. */
async function openFilesIn(directory: string): Promise<number> {
  const fds = await readdir('/proc/self/fd')
  const paths = await Promise.all(fds.map(fd => readlink(`/proc/self/fd/${fd}`).catch(() => '')))
  return paths.filter(path => path.startsWith(directory)).length
}

async function read(loglet: Loglet, at: number): Promise<Uint8Array> {
  const [item] = await loglet.readNext(at as Position, (at + 1) as Position, 1)
  if (item?.kind !== 'entry') throw new Error(`no entry at ${at}`)
  return item.bytes
}

describe('entries', () => {
  it('of 3,000 buffers, some empty, come back in one piece', async () => {
    const loglet = await provider.create(id, params())
    const whole = entry(1, 2000)
    const buffers = Array.from({ length: 3000 }, (_, i) =>
      i % 3 === 0
        ? new Uint8Array(0)
        : whole.subarray(i - Math.ceil(i / 3), i - Math.ceil(i / 3) + 1),
    )
    expect(await loglet.append(buffers)).toBe(0)
    expect(Buffer.compare(await read(loglet, 0), Buffer.concat(buffers))).toBe(0)
    await loglet.close()
  })

  it('of exactly the limit are taken, and above it refused', async () => {
    const loglet = await provider.create(id, params())
    const largest = entry(3, entryBytesMax)
    expect(await loglet.append([largest.subarray(0, 5), largest.subarray(5)])).toBe(0)
    await expect(loglet.append([largest, Uint8Array.of(1)])).rejects.toMatchObject({
      reason: 'too-large',
    })
    await expect(loglet.append([])).rejects.toMatchObject({ reason: 'empty' })
    await expect(loglet.append([new Uint8Array(0)])).rejects.toMatchObject({ reason: 'empty' })
    await loglet.close()
    const again = await provider.open(id, params())
    expect((await again.checkTail()).tail).toBe(1)
    expect(Buffer.compare(await read(again, 0), largest)).toBe(0)
    await again.close()
  })
})

describe('the writer', () => {
  it('commits what waited for a sync in one group, and acks in order', async () => {
    const loglet = await provider.create(id, params())
    const acks: number[] = []
    await Promise.all(
      Array.from({ length: 300 }, async (_, n) => {
        const at = await loglet.append([entry(n, 10)])
        expect(at).toBe(n)
        acks.push(at)
      }),
    )
    expect(acks).toEqual(Array.from({ length: 300 }, (_, n) => n))
    expect(syncs.length).toBeLessThan(5)
    expect(syncs.reduce((sum, s) => sum + s.entries, 0)).toBe(300)
    await loglet.close()
  })

  it('refuses a backlog above its bound and takes appends again afterwards', async () => {
    const loglet = await provider.create(id, params())
    const large = entry(1, 8 << 20)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, () => loglet.append([large])),
    )
    const refused = outcomes.filter(o => o.status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    for (const { reason } of refused) {
      expect(reason).toBeInstanceOf(LogletRefusedError)
      expect(reason).toMatchObject({ reason: 'backlog', outcome: 'refused' })
    }
    const taken = outcomes.length - refused.length
    expect((await loglet.checkTail()).tail).toBe(taken)
    expect(await loglet.append([entry(2, 10)])).toBe(taken)
    await loglet.close()
  })

  it('stays in order with readers of entries and of slices beside it, over many files', async () => {
    const count = 2000
    const loglet = await provider.create(id, params(65_536))
    const writers = (async () => {
      let sent = 0
      await Promise.all(
        Array.from({ length: 16 }, async () => {
          while (sent < count) {
            const n = sent++
            expect(await loglet.append([entry(n, sizeOf(n))])).toBe(n)
          }
        }),
      )
    })()
    const follower = async (): Promise<void> => {
      for (let at = 0; at < count; ) {
        const { tail } = await loglet.waitTail(at as Position)
        for (const item of await loglet.readNext(at as Position, tail, 50_000)) {
          if (item.kind !== 'entry') throw new Error(`gap ${item.gap} at ${item.from}`)
          expect(item.position).toBe(at)
          expect(Buffer.compare(item.bytes, entry(at, sizeOf(at)))).toBe(0)
          at++
        }
      }
    }
    const slicer = async (): Promise<void> => {
      for (let tail = 0; tail < count; ) {
        tail = (await loglet.waitTail(tail as Position)).tail
        // Far apart, close together, twice the same, not in order.
        const positions = [tail - 1, 0, Math.floor(tail / 2), tail - 1, Math.floor(tail / 2) + 1]
        const slices = positions
          .filter(at => at < tail)
          .map(at => {
            const start = Math.floor(sizeOf(at) / 3)
            return { position: at as Position, start, length: sizeOf(at) - start }
          })
        const results = await loglet.readSlices(slices)
        slices.forEach(({ position, start }, i) => {
          const want = entry(position, sizeOf(position)).subarray(start)
          expect(Buffer.compare(results[i] as Uint8Array, want)).toBe(0)
        })
      }
    }
    await Promise.all([writers, follower(), follower(), slicer()])
    await loglet.close()
    expect((await readdir(join(dir, 'loglets', id))).length).toBeGreaterThan(40)
  })

  it('keeps few files open, however many there are to read', async () => {
    const loglet = await provider.create(id, params(4096))
    for (let n = 0; n < 100; n++) await loglet.append([entry(n, 4096)])
    await loglet.close()
    const again = await provider.open(id, params(4096))
    for (let n = 0; n < 100; n++) expect((await read(again, n)).length).toBe(4096)
    // 32 closed files, and the newest.
    expect(await openFilesIn(dir)).toBeLessThanOrEqual(33)
    expect(Buffer.compare(await read(again, 3), entry(3, 4096))).toBe(0)
    await again.close()
    expect(await openFilesIn(dir)).toBe(0)
  })
})

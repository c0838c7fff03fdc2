// kill -9 at every disk operation of a script with every kind of chain change, then a restart: nothing acked is missing, the log goes on,
// and no store is left behind (DESIGN 4.2, 9.1, 9.2). The operating system keeps what was written; power cuts are the file loglet's tests.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { lastSegment } from '../../loglets/chain.ts'
import { LogletSealedError, lsn } from '../../loglets/contract.ts'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { FileMetaStore } from '../../loglets/metastore/file.ts'
import { nodeClock } from '../../loglets/node-clock.ts'
import { nodeDisk } from '../../loglets/node-disk.ts'
import type { Disk, DiskFile } from '../../loglets/ports.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { isStriped, type LogletSpec, parseSpec } from '../../loglets/spec.ts'
import { AppendError, VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { ports } from './workshop.ts'

interface DoomedDisk {
  readonly disk: Disk
  /** Resolves when the process has died. */
  readonly dead: Promise<void>
  readonly operations: () => number
  /** Gives the file descriptors of the dead process back. */
  readonly reap: () => Promise<void>
}

/** Dies before operation number `last`: it and everything later never happens and never returns. */
function doomed(real: Disk, last: number): DoomedDisk {
  let operations = 0
  let die = (): void => {}
  const dead = new Promise<void>(resolve => {
    die = resolve
  })
  const files: DiskFile[] = []
  const through = <T>(work: () => Promise<T>): Promise<T> => {
    if (++operations < last) return work()
    die()
    return new Promise(() => {})
  }
  const wrap = (file: DiskFile): DiskFile => ({
    write: (buffers, at) => through(() => file.write(buffers, at)),
    read: (at, length) => through(() => file.read(at, length)),
    datasync: () => through(() => file.datasync()),
    truncate: length => through(() => file.truncate(length)),
    size: () => through(() => file.size()),
    close: () => file.close(),
  })
  const disk: Disk = {
    open: (path, options) =>
      through(async () => {
        const file = await real.open(path, options)
        files.push(file)
        return wrap(file)
      }),
    list: path => through(() => real.list(path)),
    mkdir: path => through(() => real.mkdir(path)),
    exists: path => through(() => real.exists(path)),
    rename: (from, to) => through(() => real.rename(from, to)),
    remove: path => through(() => real.remove(path)),
    syncDir: path => through(() => real.syncDir(path)),
  }
  const reap = async (): Promise<void> => {
    await Promise.allSettled(files.map(file => file.close()))
  }
  return { disk, dead, operations: () => operations, reap }
}

function start(disk: Disk): Promise<VirtualLog> {
  return VirtualLog.open({
    ...ports,
    metaStore: new FileMetaStore({ disk, dir: 'metastore' }),
    registry: new LogletRegistry([
      new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock }),
    ]),
    initialSpec: 'striped:2:file',
    sealTakeoverMs: 1,
  })
}

const text = (s: string): Uint8Array => new TextEncoder().encode(s)

/** What was acked, and how far trimming may have come. */
interface Knowledge {
  readonly acked: Map<number, string>
  trimmed: number
}

/** Every change of a chain, with appends in between and beside. */
async function script(disk: Disk, known: Knowledge): Promise<void> {
  const log = await start(disk)
  const append = async (s: string): Promise<void> => {
    for (;;) {
      try {
        known.acked.set((await log.append([text(s)])).lsn, s)
        return
      } catch (error) {
        if (!(error instanceof AppendError && error.cause instanceof LogletSealedError)) throw error
        await log.waitWritable(error.segmentIndex)
      }
    }
  }
  await Promise.all([append('a'), append('b'), append('c')])
  await Promise.all([append('d'), log.reconfigure(0, 'file', 'x'), append('e')])
  await append('f')
  await Promise.all([log.modify(0, 'striped:3:file'), append('g')])
  await Promise.all([log.reconfigure(1, 'file', 'x'), log.reconfigure(1, 'striped:2:file', 'y')])
  await append('h')
  known.trimmed = log.chain.segments[1]?.start as number
  await log.prefixTrim(lsn(known.trimmed))
  await log.truncate()
  await append('i')
  await log.close()
}

function leaves(id: string, spec: LogletSpec): string[] {
  if (!isStriped(spec)) return [id]
  return Array.from({ length: spec.stripes }, (_, i) => leaves(`${id}.${i}`, spec.inner)).flat()
}

/** A restart and all that must hold after it. */
async function check(dir: string, { acked, trimmed }: Knowledge): Promise<void> {
  const disk = nodeDisk(dir)
  const log = await start(disk)
  const tail = await log.checkTail()
  for (const at of acked.keys()) expect(at).toBeLessThan(tail)
  const held = new Map<number, string>()
  for (let at = 0; at < tail; ) {
    for (const item of await log.readNext(lsn(at), tail, 1000)) {
      if (item.kind === 'entry') held.set(item.lsn, new TextDecoder().decode(item.bytes))
      else if (item.gap === 'trimmed') expect(item.to).toBeLessThanOrEqual(trimmed)
      else expect(item.gap).toBe('filler')
      at = item.kind === 'entry' ? item.lsn + 1 : item.to
    }
  }
  for (const [at, s] of acked) expect(held.get(at) ?? (at < trimmed ? s : 'missing')).toBe(s)
  const z = await log.append([text('z')])
  expect(z.lsn).toBe(tail)
  await log.reconfigure(lastSegment(log.chain).index, 'file', 'past all orphans')
  await log.close()

  const again = await start(disk)
  // An entry that was in flight on a faster stripe may come out behind it.
  expect(await again.checkTail()).toBeGreaterThan(z.lsn)
  const named = again.chain.segments.flatMap(s => leaves(s.id, parseSpec(s.spec)))
  expect(await readdir(join(dir, 'loglets'))).toEqual(named.sort())
  expect(await readdir(join(dir, 'metastore/notes'))).toEqual([])
  await again.close()
}

async function run(last: number): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'logloom-crash-'))
  try {
    const real = nodeDisk(dir)
    await real.mkdir('loglets')
    const { disk, dead, operations, reap } = doomed(real, last)
    const known: Knowledge = { acked: new Map(), trimmed: 0 }
    await Promise.race([dead, script(disk, known)])
    await reap()
    await check(dir, known)
    return operations()
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

describe('a process that dies at any disk operation', () => {
  it('leaves a log that has everything that was acked, and goes on', {
    timeout: 240_000,
  }, async () => {
    const all = await run(Number.POSITIVE_INFINITY)
    expect(all).toBeGreaterThan(100)
    for (let last = 1; last <= all; last++) {
      try {
        await run(last)
      } catch (error) {
        throw new Error(`dying before operation ${last} of ${all}`, { cause: error })
      }
    }
  })
})

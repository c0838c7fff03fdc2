// The register: compare-and-set, durable, and never believed when it is damaged (DESIGN 4.3).

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FileMetaStore } from '../../loglets/metastore/file.ts'
import { MemoryMetaStore } from '../../loglets/metastore/memory.ts'
import type { MetaStore } from '../../loglets/metastore/metastore.ts'
import { nodeDisk } from '../../loglets/node-disk.ts'
import type { Disk } from '../../loglets/ports.ts'
import { type RegisterNode, registerOf } from './paxos-nodes.ts'

const text = (s: string): Uint8Array => new TextEncoder().encode(s)
const said = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes)

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'logloom-metastore-'))
})
afterEach(() => rm(dir, { recursive: true }))

const fileStore = (disk: Disk = nodeDisk(dir)): FileMetaStore =>
  new FileMetaStore({ disk, dir: 'a/metastore' })

/** The register of a cluster of that many nodes, as the first of them uses it. */
function paxosStore(nodes: number): MetaStore {
  return (registerOf(nodes)[0] as RegisterNode).store
}

describe.each([
  ['file', (): MetaStore => fileStore()],
  ['memory', (): MetaStore => new MemoryMetaStore()],
  ['paxos (one node)', (): MetaStore => paxosStore(1)],
  ['paxos (three nodes)', (): MetaStore => paxosStore(3)],
  ['paxos (five nodes)', (): MetaStore => paxosStore(5)],
])('the %s metastore', (_, make) => {
  it('is at version 0 without a value before the first write', async () => {
    expect(await make().read()).toEqual({ value: undefined, version: 0 })
  })

  it('writes only at the expected version and says what is there instead', async () => {
    const store = make()
    expect(await store.write(text('one'), 0)).toEqual({ ok: true, version: 1 })
    expect(await store.write(text('two'), 1)).toEqual({ ok: true, version: 2 })
    const stale = await store.write(text('late'), 1)
    expect(stale.ok).toBe(false)
    expect(stale.version).toBe(2)
    expect(said(stale.ok ? undefined : stale.value)).toBe('two')
    const { value, version } = await store.read()
    expect([said(value), version]).toEqual(['two', 2])
  })

  it('lets exactly one of many racing writers win, round after round', async () => {
    const store = make()
    for (let version = 0; version < 20; version++) {
      const results = await Promise.all(
        Array.from({ length: 8 }, (_, i) => store.write(text(`${version}/${i}`), version)),
      )
      const winner = results.findIndex(r => r.ok)
      expect(results.filter(r => r.ok)).toHaveLength(1)
      expect(said((await store.read()).value)).toBe(`${version}/${winner}`)
    }
  })

  it('keeps its own copy of what was written', async () => {
    const store = make()
    const value = text('mine')
    await store.write(value, 0)
    value.fill(0)
    expect(said((await store.read()).value)).toBe('mine')
  })

  it('keeps notes by id', async () => {
    const { notes } = make()
    await notes?.put({ id: 'a', spec: 'file', expectedIndex: 1 })
    await notes?.put({ id: 'b', spec: 'file', expectedVersion: 2 })
    await notes?.put({ id: 'a', spec: 'file', expectedIndex: 5 })
    expect(await notes?.list()).toEqual([
      { id: 'a', spec: 'file', expectedIndex: 5 },
      { id: 'b', spec: 'file', expectedVersion: 2 },
    ])
    await notes?.delete('a')
    await notes?.delete('a')
    expect((await notes?.list())?.map(n => n.id)).toEqual(['b'])
  })
})

describe('the file metastore', () => {
  it('has everything when it is opened again', async () => {
    const store = fileStore()
    await store.write(text('one'), 0)
    await store.write(text('two'), 1)
    await store.notes.put({ id: 'a', spec: 'file' })
    const again = fileStore()
    const { value, version } = await again.read()
    expect([said(value), version]).toEqual(['two', 2])
    expect(await again.notes.list()).toEqual([{ id: 'a', spec: 'file' }])
  })

  it('ignores what a crash left of an unfinished write', async () => {
    await fileStore().write(text('one'), 0)
    await writeFile(join(dir, 'a/metastore/register.new'), 'torn')
    const store = fileStore()
    expect(said((await store.read()).value)).toBe('one')
    expect(await store.write(text('two'), 1)).toEqual({ ok: true, version: 2 })
  })

  it('refuses a register with any byte changed or missing, and writes nothing over it', async () => {
    await fileStore().write(text('value'), 0)
    const path = join(dir, 'a/metastore/register')
    const good = await readFile(path)
    const damaged = [
      ...Array.from(good, (_, i) => {
        const copy = Buffer.from(good)
        copy[i] = (copy[i] as number) ^ 1
        return copy
      }),
      ...Array.from({ length: good.length }, (_, i) => good.subarray(0, i)),
      Buffer.concat([good, Buffer.from([0])]),
    ]
    for (const bytes of damaged) {
      await writeFile(path, bytes)
      const store = fileStore()
      await expect(store.read()).rejects.toMatchObject({ code: 'METASTORE_CORRUPT' })
      await expect(store.write(text('x'), 0)).rejects.toMatchObject({ code: 'METASTORE_CORRUPT' })
      expect(await readFile(path)).toEqual(bytes)
    }
  })

  it('does not take a register that it may not read for an absent one', async () => {
    await fileStore().write(text('value'), 0)
    const disk = nodeDisk(dir)
    const denied: Disk = {
      ...disk,
      exists: () => Promise.resolve(false),
      open: () => Promise.reject(Object.assign(new Error('denied'), { code: 'EACCES' })),
    }
    await expect(fileStore(denied).read()).rejects.toThrow('denied')
  })

  it('syncs the content before it takes its name, and the directory before it answers', async () => {
    const real = nodeDisk(dir)
    const calls: string[] = []
    const disk: Disk = {
      ...real,
      open: async (path, options) => {
        const file = await real.open(path, options)
        return {
          read: (at, length) => file.read(at, length),
          truncate: length => file.truncate(length),
          size: () => file.size(),
          close: () => file.close(),
          write: async (buffers, at) => {
            await file.write(buffers, at)
            calls.push('written')
          },
          datasync: async () => {
            await file.datasync()
            calls.push('synced')
          },
        }
      },
      rename: async (from, to) => {
        calls.push('renaming')
        await real.rename(from, to)
        calls.push('renamed')
      },
      syncDir: async path => {
        await real.syncDir(path)
        calls.push(`synced ${path}`)
      },
    }
    const store = fileStore(disk)
    await store.read()
    calls.length = 0
    await store.write(text('one'), 0)
    expect(calls).toEqual(['written', 'synced', 'renaming', 'renamed', 'synced a/metastore'])
  })

  it('says "nobody knows" when a sync fails, and syncs again before it believes what it finds', async () => {
    const disk = nodeDisk(dir)
    const calls: string[] = []
    let failing = false
    const flaky: Disk = {
      ...disk,
      syncDir: path => {
        calls.push(path)
        return failing ? Promise.reject(new Error('EIO')) : disk.syncDir(path)
      },
    }
    const store = fileStore(flaky)
    await store.write(text('one'), 0)
    failing = true
    await expect(store.write(text('two'), 1)).rejects.toThrow('EIO')
    await expect(store.read()).rejects.toThrow('EIO')
    failing = false
    calls.length = 0
    const { version } = await store.read()
    expect([1, 2]).toContain(version)
    expect(calls).toContain('a/metastore')
  })
})

// The VirtualLog on real files: restarts, half-finished reconfigurations, stores that are gone, switches between kinds under load.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { lastSegment } from '../../loglets/chain.ts'
import { LogletLostError, LogletSealedError, type Lsn, lsn } from '../../loglets/contract.ts'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { FileMetaStore } from '../../loglets/metastore/file.ts'
import { nodeClock } from '../../loglets/node-clock.ts'
import { nodeDisk } from '../../loglets/node-disk.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import {
  AppendError,
  VirtualLog,
  type VirtualLogOptions,
} from '../../loglets/virtual-log/virtual-log.ts'
import { ports } from './workshop.ts'

let dir: string
let open: VirtualLog[]
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'logloom-virtual-log-'))
  open = []
})
afterEach(async () => {
  for (const log of open) await log.close()
  await rm(dir, { recursive: true })
})

function registryOf(): LogletRegistry {
  return new LogletRegistry([
    new MemoryLogletProvider(),
    new FileLogletProvider({ disk: nodeDisk(dir), root: 'loglets', clock: nodeClock }),
  ])
}

/** A process start: nothing in memory survives from the one before. */
async function start(options: Partial<VirtualLogOptions> = {}): Promise<VirtualLog> {
  const disk = nodeDisk(dir)
  await disk.mkdir('loglets')
  const log = await VirtualLog.open({
    ...ports,
    metaStore: new FileMetaStore({ disk, dir: 'metastore' }),
    registry: registryOf(),
    initialSpec: 'striped:2:file',
    sealTakeoverMs: 20,
    ...options,
  })
  open.push(log)
  return log
}

const text = (s: string): Uint8Array => new TextEncoder().encode(s)

async function appendSurely(log: VirtualLog, s: string): Promise<Lsn> {
  for (;;) {
    try {
      return (await log.append([text(s)])).lsn
    } catch (error) {
      if (!(error instanceof AppendError) || !(error.cause instanceof LogletSealedError))
        throw error
      await log.waitWritable(error.segmentIndex)
    }
  }
}

async function read(log: VirtualLog, from: number, to: number): Promise<Map<number, string>> {
  const held = new Map<number, string>()
  for (let at = from; at < to; ) {
    for (const item of await log.readNext(lsn(at), lsn(to), 1 << 16)) {
      if (item.kind === 'entry') held.set(item.lsn, new TextDecoder().decode(item.bytes))
      at = item.kind === 'entry' ? item.lsn + 1 : item.to
    }
  }
  return held
}

const stores = async (): Promise<string[]> => (await readdir(join(dir, 'loglets'))).sort()

describe('a VirtualLog on files', () => {
  it('has every entry at its LSN after switches over many kinds and restarts, under load', async () => {
    const specs = [
      'file',
      'striped:4:file',
      'striped:2:striped:2:file',
      'striped:2:file',
      'file,segment.bytes=4096',
    ]
    const acked = new Map<number, string>()
    for (let life = 0; life < 3; life++) {
      const log = await start()
      const over = new AbortController()
      const writers = Array.from({ length: 8 }, async (_, worker) => {
        for (let n = 0; !over.signal.aborted; n++) {
          const s = `${life}/${worker}/${n}`
          const at = await appendSurely(log, s)
          expect(acked.has(at), `${at} was acked twice`).toBe(false)
          acked.set(at, s)
        }
      })
      for (const spec of specs) {
        const goal = lsn((await log.checkTail()) + 30)
        await log.waitTail(goal)
        const { index } = lastSegment(log.chain)
        expect((await log.reconfigure(index, spec, 'test')).installed).toBe(true)
      }
      over.abort()
      await Promise.all(writers)
      await log.close()
    }
    const log = await start()
    const tail = await log.checkTail()
    expect(tail).toBe(acked.size)
    expect(await read(log, 0, tail)).toEqual(new Map([...acked].sort((a, b) => a[0] - b[0])))
    expect(log.chain.segments).toHaveLength(16)
  })

  it('finishes after a restart what was left sealed', async () => {
    const log = await start()
    await log.append([text('a')])
    const { id, spec } = lastSegment(log.chain)
    await log.close()
    const half = await registryOf().open(id, spec)
    await half.seal()
    await half.close()
    const again = await start()
    expect(await again.checkTail()).toBe(1)
    expect(await appendSurely(again, 'b')).toBe(1)
    expect(lastSegment(again.chain)).toMatchObject({ index: 1, start: 1, spec, reason: 'takeover' })
  })

  it('finishes it when only one stripe was sealed before the crash', async () => {
    const log = await start({ initialSpec: 'striped:3:file' })
    for (const s of 'abcd') await log.append([text(s)])
    const { id } = lastSegment(log.chain)
    await log.close()
    const stripe = await registryOf().open(`${id}.1`, 'file')
    await stripe.seal()
    await stripe.close()
    const again = await start()
    expect(await again.checkTail()).toBe(4)
    expect(await appendSurely(again, 'e')).toBe(4)
    expect([...(await read(again, 0, 5)).values()].join('')).toBe('abcde')
  })

  it.each(['whole', 'one stripe'])(
    'never opens an open segment whose store is gone: %s',
    async what => {
      const log = await start()
      await log.append([text('a')])
      const { id } = lastSegment(log.chain)
      const before = log.chain
      await log.close()
      for (const store of what === 'whole' ? [`${id}.0`, `${id}.1`] : [`${id}.1`])
        await rm(join(dir, 'loglets', store), { recursive: true })
      await expect(start()).rejects.toThrow(LogletLostError)
      await expect(start()).rejects.toThrow('restore the data directory')
      const { value } = await new FileMetaStore({ disk: nodeDisk(dir), dir: 'metastore' }).read()
      expect(JSON.parse(new TextDecoder().decode(value))).toMatchObject({ version: before.version })
    },
  )

  it('reads a sealed segment whose store is gone as lost, and serves the rest', async () => {
    const log = await start()
    await log.append([text('a')])
    await log.append([text('b')])
    const { id } = lastSegment(log.chain)
    await log.reconfigure(0, 'file', 'x')
    await log.append([text('c')])
    await log.close()
    await rm(join(dir, 'loglets', `${id}.0`), { recursive: true })
    const again = await start()
    expect(await again.readNext(lsn(0), lsn(3), 1000)).toEqual([
      { kind: 'gap', gap: 'lost', from: 0, to: 2 },
    ])
    expect(await read(again, 2, 3)).toEqual(new Map([[2, 'c']]))
    expect(again.lostSegments().map(s => s.index)).toEqual([0])
    expect((await again.append([text('d')])).lsn).toBe(3)
  })

  it('closes a forgotten memory segment after a restart, once, however often it restarts', async () => {
    const log = await start({ initialSpec: 'file' })
    await log.append([text('a')])
    await log.reconfigure(0, 'striped:2:memory', 'x')
    await log.append([text('b')])
    await log.close()
    const again = await start()
    const fresh = 1 + 2 ** 32
    expect((await again.append([text('c')])).lsn).toBe(fresh)
    await again.reconfigure(2, 'file', 'x')
    await again.append([text('d')])
    await again.close()
    const third = await start()
    expect(third.chain.segments.map(s => [s.start, s.spec])).toEqual([
      [0, 'file'],
      [1, 'striped:2:memory'],
      [fresh, 'striped:2:memory'],
      [fresh + 1, 'file'],
    ])
    expect(await third.checkTail()).toBe(fresh + 2)
    expect(await read(third, fresh, fresh + 2)).toEqual(new Map([[fresh + 1, 'd']]))
    expect(await read(third, 0, 1)).toEqual(new Map([[0, 'a']]))
  })

  it('saves a sealed memory segment in files, where a restart finds it', async () => {
    const log = await start({ initialSpec: 'memory' })
    for (let n = 0; n < 500; n++) await log.append([text(`${n}`)])
    await log.prefixTrim(lsn(100))
    await log.reconfigure(0, 'file', 'x')
    expect(await log.modify(0, 'striped:2:file')).toEqual({ installed: true })
    await log.close()
    const again = await start()
    expect(again.volatileSegments()).toEqual([])
    expect(again.trimPoint).toBe(100)
    expect(await read(again, 100, 500)).toEqual(
      new Map(Array.from({ length: 400 }, (_, i) => [100 + i, `${100 + i}`])),
    )
  })

  it('deletes what truncated and copied segments and lost races left on the disk', async () => {
    const log = await start({ initialSpec: 'file' })
    await log.append([text('a')])
    const race = await Promise.all(
      [1, 2, 3].map(() => log.reconfigure(0, 'striped:2:file', 'race')),
    )
    expect(race.filter(r => r.installed)).toHaveLength(1)
    await log.append([text('b')])
    await log.reconfigure(1, 'file', 'x')
    await log.modify(1, 'file')
    await log.prefixTrim(lsn(1))
    await log.truncate()
    expect(await stores()).toEqual(log.chain.segments.map(s => s.id).sort())
    expect(await readdir(join(dir, 'metastore/notes'))).toEqual([])
  })

  it('deletes at the next start what a crash left, as soon as the chain is past it', async () => {
    const log = await start({ initialSpec: 'file' })
    await log.append([text('a')])
    await log.close()
    const notes = new FileMetaStore({ disk: nodeDisk(dir), dir: 'metastore' }).notes
    for (const id of ['000001-aaaaaa', '000001-bbbbbb'])
      await notes.put({ id, spec: 'striped:2:file', expectedIndex: 0 })
    // One crash came before the store was made, one in the middle, after the first stripe.
    await (await registryOf().create('000001-bbbbbb.0', 'file')).close()
    const again = await start()
    expect(await stores()).toContain('000001-bbbbbb.0')
    await again.reconfigure(0, 'file', 'x')
    await again.close()
    const third = await start()
    expect(await stores()).toEqual(third.chain.segments.map(s => s.id).sort())
    expect(await readdir(join(dir, 'metastore/notes'))).toEqual([])
  })
})

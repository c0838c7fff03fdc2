// The VirtualLog over memory loglets: routing, reconfiguration and its races, trims, copies, losses (DESIGN 4.2, 9).

import { afterEach, describe, expect, it } from 'vitest'
import { lastSegment } from '../../loglets/chain.ts'
import {
  type Loglet,
  LogletClosedError,
  type LogletProvider,
  LogletSealedError,
  LogletSpecError,
  type Lsn,
  lsn,
  type Position,
  position,
  type TailState,
} from '../../loglets/contract.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { MemoryMetaStore } from '../../loglets/metastore/memory.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import {
  AppendError,
  type LsnItem,
  VirtualLog,
  type VirtualLogEvent,
  type VirtualLogOptions,
} from '../../loglets/virtual-log/virtual-log.ts'
import { ports } from './workshop.ts'

const text = (s: string): Uint8Array => new TextEncoder().encode(s)
const open: VirtualLog[] = []

interface World {
  readonly memory: MemoryLogletProvider
  readonly metaStore: MemoryMetaStore
  readonly registry: LogletRegistry
  readonly events: VirtualLogEvent[]
}

function world(metaStore = new MemoryMetaStore()): World {
  const memory = new MemoryLogletProvider()
  return { memory, metaStore, registry: new LogletRegistry([memory]), events: [] }
}

async function logIn(w: World, options: Partial<VirtualLogOptions> = {}): Promise<VirtualLog> {
  const log = await VirtualLog.open({
    ...w,
    ...ports,
    initialSpec: 'memory',
    sealTakeoverMs: 30,
    onEvent: event => w.events.push(event),
    ...options,
  })
  open.push(log)
  return log
}

/** Memory loglets under another name, for several processes. */
function shared(memory: MemoryLogletProvider, canOpen = true): LogletProvider {
  return {
    kind: 'shared',
    scope: 'cluster',
    volatile: false,
    validate: () => {},
    create: (id, params) => memory.create(id, params),
    open: (id, params) =>
      canOpen ? memory.open(id, params) : Promise.reject(new Error('opened a second time')),
    remove: id => memory.remove(id),
  }
}

/** Memory loglets with another `waitTail`. */
function registryWith(
  memory: MemoryLogletProvider,
  waitTail: (loglet: Loglet) => Loglet['waitTail'],
): LogletRegistry {
  const dress = (loglet: Loglet): Loglet =>
    new Proxy(loglet, {
      get: (target, key) => {
        if (key === 'waitTail') return waitTail(target)
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    })
  return new LogletRegistry([
    {
      kind: 'memory',
      scope: 'process',
      volatile: true,
      validate: params => memory.validate(params),
      create: async (id, params) => dress(await memory.create(id, params)),
      open: async (id, params) => dress(await memory.open(id, params)),
      remove: id => memory.remove(id),
    },
  ])
}

const append = (log: VirtualLog, s: string): Promise<{ lsn: Lsn; segmentIndex: number }> =>
  log.append([text(s)])

/** Appends until it is in, as the broker does. */
async function appendSurely(log: VirtualLog, s: string): Promise<Lsn> {
  for (;;) {
    try {
      return (await append(log, s)).lsn
    } catch (error) {
      if (!(error instanceof AppendError) || !(error.cause instanceof LogletSealedError))
        throw error
      await log.waitWritable(error.segmentIndex)
    }
  }
}

async function readAll(log: VirtualLog, from = 0, end?: number): Promise<LsnItem[]> {
  const to = end ?? (await log.checkTail())
  const items: LsnItem[] = []
  for (let at = from; at < to; ) {
    for (const item of await log.readNext(lsn(at), lsn(to), 1000)) {
      expect(item.kind === 'entry' ? item.lsn : item.from).toBe(at)
      at = item.kind === 'entry' ? item.lsn + 1 : item.to
      items.push(item)
    }
  }
  return items
}

const say = (items: readonly LsnItem[]): string[] =>
  items.map(i =>
    i.kind === 'entry' ? new TextDecoder().decode(i.bytes) : `${i.gap} ${i.from}-${i.to}`,
  )

afterEach(async () => {
  for (const log of open.splice(0)) await log.close()
})

describe('a VirtualLog', () => {
  it('appends, checks its tail and reads', async () => {
    const log = await logIn(world())
    expect(await log.checkTail()).toBe(0)
    expect(await append(log, 'a')).toEqual({ lsn: 0, segmentIndex: 0 })
    expect(await append(log, 'b')).toEqual({ lsn: 1, segmentIndex: 0 })
    expect(await log.checkTail()).toBe(2)
    expect(say(await readAll(log))).toEqual(['a', 'b'])
    expect(log.kindOf(0)).toBe('memory')
  })

  it('goes on in a new segment after a reconfiguration, and reads across', async () => {
    const w = world()
    const log = await logIn(w)
    await append(log, 'a')
    await append(log, 'b')
    const result = await log.reconfigure(0, 'striped:2:memory', 'operator')
    expect(result).toMatchObject({
      installed: true,
      sealed: { index: 0, start: 0, end: 2, spec: 'memory' },
      opened: { index: 1, start: 2, spec: 'striped:2:memory', reason: 'operator' },
    })
    expect(result.chain).toBe(log.chain)
    expect(await append(log, 'c')).toEqual({ lsn: 2, segmentIndex: 1 })
    expect(await append(log, 'd')).toEqual({ lsn: 3, segmentIndex: 1 })
    expect(say(await readAll(log))).toEqual(['a', 'b', 'c', 'd'])
    const slices = [3, 0, 2].map(n => ({ lsn: lsn(n), start: 0, length: 1 }))
    expect((await log.readSlices(slices)).map(s => (s instanceof Uint8Array ? s[0] : s))).toEqual([
      100, 97, 99,
    ])
    expect(w.events).toContainEqual(
      expect.objectContaining({ type: 'reconfigured', outcome: 'installed', reason: 'operator' }),
    )
    expect(await w.metaStore.notes.list()).toEqual([])
  })

  it('refuses a bad spec before anything is made or sealed', async () => {
    const w = world()
    const log = await logIn(w)
    const { version } = log.chain
    await expect(log.reconfigure(0, 'nope', 'operator')).rejects.toThrow(LogletSpecError)
    await expect(log.reconfigure(0, 'striped:2:', 'operator')).rejects.toThrow(LogletSpecError)
    expect(await append(log, 'a')).toEqual({ lsn: 0, segmentIndex: 0 })
    expect(log.chain.version).toBe(version)
  })

  it('refuses a spec that does not reach every member', async () => {
    const w = world()
    const log = await logIn(w, { scope: 'cluster' })
    await expect(log.reconfigure(0, 'memory', 'operator')).rejects.toThrow(LogletSpecError)
    expect(await append(log, 'a')).toEqual({ lsn: 0, segmentIndex: 0 })
  })

  it('leaves everything as it was when the new loglet cannot be made', async () => {
    const w = world()
    const log = await logIn(w)
    const failing = new LogletRegistry([
      w.memory,
      {
        kind: 'broken',
        scope: 'node',
        volatile: false,
        validate: () => {},
        create: () => Promise.reject(new Error('no disk')),
        open: () => Promise.reject(new Error('no disk')),
        remove: () => Promise.resolve(),
      },
    ])
    await log.close()
    const again = await logIn({ ...w, registry: failing })
    await expect(again.reconfigure(0, 'striped:2:broken', 'operator')).rejects.toThrow('no disk')
    expect(await append(again, 'a')).toEqual({ lsn: 0, segmentIndex: 0 })
    expect(await w.metaStore.notes.list()).toEqual([])
  })

  it('says that a segment is gone when another reconfiguration took it', async () => {
    const log = await logIn(world())
    await log.reconfigure(0, 'memory', 'first')
    const late = await log.reconfigure(0, 'striped:3:memory', 'late')
    expect(late).toMatchObject({ installed: false, sealed: { index: 0 }, opened: { index: 1 } })
    await expect(log.reconfigure(7, 'memory', 'early')).rejects.toMatchObject({
      code: 'CHAIN_CONFLICT',
    })
    expect(log.chain.segments).toHaveLength(2)
  })

  it('has exactly one winner among racing reconfigurers, in one process and in several', async () => {
    const w = world()
    const logs = [await logIn(w), await logIn(w), await logIn(w)]
    for (let round = 0; round < 20; round++) {
      const results = await Promise.all(
        logs.flatMap(log => [
          log.reconfigure(round, 'memory', 'x'),
          log.reconfigure(round, 'striped:2:memory', 'y'),
        ]),
      )
      expect(results.filter(r => r.installed)).toHaveLength(1)
      const winner = results.find(r => r.installed)
      for (const { opened, sealed } of results) {
        expect(opened).toEqual(winner?.opened)
        expect(sealed).toEqual(winner?.sealed)
      }
      await appendSurely(logs[round % 3] as VirtualLog, `${round}`)
    }
    const { version } = await w.metaStore.read()
    expect(version).toBe(21)
    expect(await w.metaStore.notes.list()).toEqual([])
    for (const log of logs) expect(await log.checkTail()).toBe(20)
  })

  it('seals the expected segment and no other, however long its new loglet takes to be made', async () => {
    const w = world()
    let release = (): void => {}
    const released = new Promise<void>(resolve => {
      release = resolve
    })
    const slow = new LogletRegistry([
      w.memory,
      {
        kind: 'slow',
        scope: 'process',
        volatile: true,
        validate: () => {},
        create: async (id, params) => {
          await released
          return w.memory.create(id, { ...params, kind: 'memory' })
        },
        open: (id, params) => w.memory.open(id, params),
        remove: id => w.memory.remove(id),
      },
    ])
    const log = await logIn({ ...w, registry: slow })
    const late = log.reconfigure(0, 'slow', 'late')
    expect((await log.reconfigure(0, 'memory', 'quick')).installed).toBe(true)
    await append(log, 'a')
    release()
    expect(await late).toMatchObject({ installed: false, opened: { spec: 'memory' } })
    expect(await append(log, 'b')).toEqual({ lsn: 1, segmentIndex: 1 })
    expect(await w.metaStore.notes.list()).toEqual([])
  })

  it('never opens a second time what it made itself', async () => {
    const w = world()
    const registry = new LogletRegistry([shared(w.memory, false)])
    const log = await logIn({ ...w, registry }, { initialSpec: 'shared' })
    await Promise.all([1, 2, 3].map(() => log.reconfigure(0, 'striped:2:shared', 'x')))
    await append(log, 'a')
    await log.reconfigure(1, 'shared', 'x')
    await log.modify(1, 'shared')
    expect(say(await readAll(log))).toEqual(['a'])
  })

  it('wakes readers that are parked at a sealed tail', async () => {
    const w = world()
    const [reader, writer] = [await logIn(w), await logIn(w)]
    await append(writer, 'a')
    const parked = [reader.waitTail(lsn(1)), writer.waitTail(lsn(1)), reader.waitTail(lsn(1))]
    await writer.reconfigure(0, 'memory', 'operator')
    await append(writer, 'b')
    expect(await Promise.all(parked)).toEqual([2, 2, 2])
    expect(say(await readAll(reader))).toEqual(['a', 'b'])
    expect(reader.chain).toEqual(writer.chain)
  })

  it('wakes readers by a chain change when the loglet itself stays silent', async () => {
    const w = world()
    const silent = (_: Position, signal?: AbortSignal): Promise<TailState> =>
      new Promise((_resolve, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason as Error))
      })
    let first: Loglet | undefined
    const dumb = (loglet: Loglet): Loglet['waitTail'] => {
      first ??= loglet
      return loglet === first ? silent : (...args) => loglet.waitTail(...args)
    }
    const log = await logIn({ ...w, registry: registryWith(w.memory, dumb) })
    await append(log, 'a')
    const parked = log.waitTail(lsn(1))
    await log.reconfigure(0, 'memory', 'x')
    await append(log, 'b')
    expect(await parked).toBe(2)
  })

  it('ignores where a sealed loglet thinks that it ends: only the chain says', async () => {
    const w = world()
    const zombies = (loglet: Loglet) => async (beyond: Position, signal?: AbortSignal) => {
      const { tail, sealed } = await loglet.waitTail(beyond, signal)
      return { tail: position(sealed ? tail + 5 : tail), sealed }
    }
    const log = await logIn({ ...w, registry: registryWith(w.memory, zombies) })
    await append(log, 'a')
    const parked = log.waitTail(lsn(1))
    const { id, spec } = lastSegment(log.chain)
    await (await w.registry.open(id, spec)).seal()
    expect(await Promise.race([parked, log.waitChain(1)])).toBe(log.chain)
    await append(log, 'b')
    expect(await parked).toBe(2)
  })

  it('ends waits with the reason of their signal', async () => {
    const log = await logIn(world())
    const abort = new AbortController()
    const waits = [
      log.waitTail(lsn(0), abort.signal),
      log.waitChain(1, abort.signal),
      log.waitWritable(0, abort.signal),
    ]
    abort.abort(new Error('enough'))
    for (const wait of waits) await expect(wait).rejects.toThrow('enough')
  })

  it('ends everything with a typed error when it is closed', async () => {
    const log = await logIn(world())
    const waits = [log.waitTail(lsn(0)), log.waitChain(1), log.waitWritable(0)].map(wait =>
      wait.catch(error => error as unknown),
    )
    await log.close()
    await log.close()
    for (const wait of waits) expect(await wait).toBeInstanceOf(LogletClosedError)
    await expect(append(log, 'a')).rejects.toMatchObject({ cause: { code: 'LOGLET_CLOSED' } })
  })

  it('finishes a reconfiguration that somebody else left half done', async () => {
    const w = world()
    const log = await logIn(w, { initialSpec: 'striped:2:memory' })
    await append(log, 'a')
    const { id, spec } = lastSegment(log.chain)
    const crashed = await w.registry.open(id, spec)
    await crashed.seal()
    await expect(append(log, 'b')).rejects.toMatchObject({
      segmentIndex: 0,
      cause: { code: 'LOGLET_SEALED' },
    })
    expect(await appendSurely(log, 'b')).toBe(1)
    expect(lastSegment(log.chain)).toMatchObject({ index: 1, start: 1, spec, reason: 'takeover' })
    expect(lastSegment(log.chain).id).not.toBe(id)
  })

  it('finishes it for a tail check too, without any writer', async () => {
    const w = world()
    const log = await logIn(w)
    await append(log, 'a')
    const { id, spec } = lastSegment(log.chain)
    const parked = log.waitTail(lsn(1))
    await (await w.registry.open(id, spec)).seal()
    expect(await log.checkTail()).toBe(1)
    expect(lastSegment(log.chain).index).toBe(1)
    await append(log, 'b')
    expect(await parked).toBe(2)
  })

  it('tells listeners and waiters of every chain', async () => {
    const log = await logIn(world())
    const seen: number[] = []
    const stop = log.onChain(chain => seen.push(chain.version))
    const waited = log.waitChain(1)
    await log.reconfigure(0, 'memory', 'x')
    expect((await waited).version).toBe(2)
    await log.reconfigure(1, 'memory', 'x')
    stop()
    await log.reconfigure(2, 'memory', 'x')
    expect(seen).toEqual([2, 3])
  })

  it('keeps every entry at its LSN through 50 reconfigurations under load', async () => {
    const w = world()
    const log = await logIn(w)
    const specs = ['memory', 'striped:2:memory', 'striped:3:memory', 'striped:2:striped:2:memory']
    const acked = new Map<number, string>()
    const over = new AbortController()
    const writers = Array.from({ length: 8 }, async (_, worker) => {
      for (let n = 0; !over.signal.aborted; n++) {
        const s = `${worker}/${n}`
        const at = await appendSurely(log, s)
        expect(acked.has(at), `${at} was acked twice`).toBe(false)
        acked.set(at, s)
      }
    })
    let known = 0
    const checker = (async () => {
      while (!over.signal.aborted) {
        const before = Math.max(known, acked.size === 0 ? 0 : Math.max(...acked.keys()) + 1)
        const tail = await log.checkTail()
        expect(tail).toBeGreaterThanOrEqual(before)
        known = tail
        await new Promise(resolve => setImmediate(resolve))
      }
    })()
    const read: string[] = []
    const reader = (async () => {
      for (let at = 0; !over.signal.aborted; ) {
        const tail = await log.waitTail(lsn(at))
        const items = await readAll(log, at, tail)
        read.push(...say(items))
        at = tail
      }
    })()
    for (let i = 0; i < 50; i++) {
      const goal = (await log.checkTail()) + 20
      await log.waitTail(lsn(goal))
      const result = await log.reconfigure(i, specs[i % specs.length] as string, 'test')
      expect(result.installed).toBe(true)
    }
    over.abort()
    await Promise.all(writers)
    await checker
    await appendSurely(log, 'wake the reader')
    await reader
    const tail = await log.checkTail()
    const items = await readAll(log, 0, tail)
    const held = new Map(
      items.flatMap(i => (i.kind === 'entry' ? [[i.lsn as number, i.bytes]] : [])),
    )
    for (const [at, s] of acked)
      expect(new TextDecoder().decode(held.get(at) as Uint8Array)).toBe(s)
    expect(say(items).slice(0, read.length)).toEqual(read)
    expect(log.chain.segments).toHaveLength(51)
  })
})

describe('trimming', () => {
  it('drops a prefix over several segments, then their places in the chain', async () => {
    const w = world()
    const log = await logIn(w)
    for (let i = 0; i < 4; i++) {
      for (const s of 'abc') await append(log, `${i}${s}`)
      await log.reconfigure(i, i % 2 === 0 ? 'striped:2:memory' : 'memory', 'x')
    }
    expect(await log.prefixTrim(lsn(7))).toBe(7)
    expect(log.trimPoint).toBe(7)
    expect(await log.prefixTrim(lsn(2))).toBe(7)
    expect(log.chain.segments).toHaveLength(5)
    const bytes = w.memory.bytesUsed
    const chain = await log.truncate()
    expect(chain.segments.map(s => s.index)).toEqual([2, 3, 4])
    expect(w.memory.bytesUsed).toBeLessThanOrEqual(bytes)
    expect(say(await readAll(log))).toEqual(['trimmed 0-7', '2b', '2c', '3a', '3b', '3c'])
    expect(await log.readSlices([{ lsn: lsn(3), start: 0, length: 1 }])).toEqual([
      { gap: 'trimmed' },
    ])
    expect(await log.prefixTrim(lsn(99))).toBe(12)
    expect((await log.truncate()).segments.map(s => s.index)).toEqual([4])
    expect(await append(log, 'x')).toEqual({ lsn: 12, segmentIndex: 4 })
    expect(await w.metaStore.notes.list()).toEqual([])
  })

  it('remembers the trim point when it is opened again', async () => {
    const w = world()
    const log = await logIn(w)
    for (const s of 'abcd') await append(log, s)
    await log.reconfigure(0, 'striped:2:memory', 'x')
    for (const s of 'efgh') await append(log, s)
    await log.prefixTrim(lsn(6))
    await log.close()
    const again = await logIn(w)
    expect(again.trimPoint).toBe(6)
    expect(say(await readAll(again))).toEqual(['trimmed 0-6', 'g', 'h'])
  })

  it('installs a reconfiguration that a truncate came between', async () => {
    const w = world()
    const log = await logIn(w)
    await append(log, 'a')
    await log.reconfigure(0, 'memory', 'x')
    await log.prefixTrim(lsn(1))
    const [result, chain] = await Promise.all([
      log.reconfigure(1, 'striped:2:memory', 'y'),
      log.truncate(),
    ])
    expect(result.installed).toBe(true)
    expect(chain.segments.length).toBeLessThanOrEqual(2)
    expect(log.chain.segments.map(s => s.index)).toEqual([1, 2])
    expect(log.chain.version).toBe(4)
  })

  it('installs it from a process that has not heard of the truncate', async () => {
    const w = world()
    const [one, other] = [await logIn(w), await logIn(w)]
    await append(one, 'a')
    await one.reconfigure(0, 'memory', 'x')
    await other.waitWritable(0)
    await one.prefixTrim(lsn(1))
    expect((await one.truncate()).version).toBe(3)
    expect(other.chain.version).toBe(2)
    const result = await other.reconfigure(1, 'striped:2:memory', 'y')
    expect(result).toMatchObject({ installed: true, sealed: { index: 1, end: 1 } })
    expect(other.chain.segments.map(s => s.index)).toEqual([1, 2])
  })

  it('lets another process see a truncated segment as trimmed, not as an error', async () => {
    const w = world()
    const [one, other] = [await logIn(w), await logIn(w)]
    await append(one, 'a')
    await one.reconfigure(0, 'memory', 'x')
    await one.prefixTrim(lsn(1))
    await one.truncate()
    expect(await other.readNext(lsn(0), lsn(1), 100)).toEqual([
      { kind: 'gap', gap: 'trimmed', from: 0, to: 1 },
    ])
  })
})

describe('copying a sealed segment', () => {
  it('keeps every position, and removes the old store', async () => {
    const w = world()
    const log = await logIn(w)
    for (const s of 'abcdef') await append(log, s)
    await log.prefixTrim(lsn(2))
    await log.reconfigure(0, 'memory', 'x')
    await append(log, 'g')
    const { id } = log.chain.segments[0] as { id: string }
    expect(await log.modify(0, 'striped:3:memory')).toEqual({ installed: true })
    expect(log.chain.segments[0]).toMatchObject({
      index: 0,
      start: 0,
      end: 6,
      spec: 'striped:3:memory',
    })
    expect(say(await readAll(log))).toEqual(['trimmed 0-2', 'c', 'd', 'e', 'f', 'g'])
    await expect(w.registry.open(id, 'memory')).rejects.toMatchObject({ code: 'LOGLET_LOST' })
    expect(await w.metaStore.notes.list()).toEqual([])
    expect(w.events).toContainEqual(expect.objectContaining({ type: 'modified', entries: 4 }))
  })

  it('keeps fillers as gaps, through a second copy too', async () => {
    const w = world()
    const log = await logIn(w, { initialSpec: 'striped:2:memory' })
    const { id } = lastSegment(log.chain)
    // Another writer put two entries on stripe 0, so that stripe 1 lags.
    const stripe = await w.registry.open(`${id}.0`, 'memory')
    const frame = [Uint8Array.of(1), text('zombie')]
    await Promise.all([stripe.append(frame), stripe.append(frame)])
    await Promise.all(['a', 'b', 'c'].map(s => append(log, s)))
    await log.checkTail()
    const before = say(await readAll(log))
    expect(before.some(s => s.startsWith('filler'))).toBe(true)
    await log.reconfigure(0, 'memory', 'x')
    const end = log.chain.segments[0]?.end as number
    await log.modify(0, 'memory')
    expect(say(await readAll(log, 0, end))).toEqual(before)
    await log.modify(0, 'striped:2:memory')
    expect(say(await readAll(log, 0, end))).toEqual(before)
    const gap = (await readAll(log, 0, end)).find(i => i.kind === 'gap')
    if (gap?.kind === 'gap')
      expect(await log.readSlices([{ lsn: gap.from, start: 0, length: 1 }])).toEqual([
        { gap: 'filler' },
      ])
  })

  it('goes on serving readers while it happens, and other processes afterwards', async () => {
    const w = world()
    const [log, other] = [await logIn(w), await logIn(w)]
    for (let i = 0; i < 200; i++) await append(log, `${i}`)
    await log.reconfigure(0, 'memory', 'x')
    const all = Array.from({ length: 200 }, (_, i) => `${i}`)
    const copied = new AbortController()
    const reading = (async () => {
      do expect(say(await readAll(log, 0, 200))).toEqual(all)
      while (!copied.signal.aborted)
    })()
    for (const spec of ['striped:2:memory', 'memory', 'striped:5:memory']) await log.modify(0, spec)
    copied.abort()
    await reading
    expect(say(await readAll(other, 0, 200))).toEqual(all)
  })

  it('ends a loss that another process has repaired by a copy', async () => {
    const w = world()
    const common = shared(new MemoryLogletProvider())
    const one = await logIn({ ...w, registry: new LogletRegistry([w.memory, common]) })
    await append(one, 'a')
    await one.reconfigure(0, 'shared', 'x')
    const elsewhere = new LogletRegistry([new MemoryLogletProvider(), common])
    const others = [
      await logIn({ ...w, registry: elsewhere }),
      await logIn({ ...w, registry: elsewhere }),
    ] as const
    for (const other of others) expect(say(await readAll(other, 0, 1))).toEqual(['lost 0-1'])
    await one.modify(0, 'shared')
    const slices = [{ lsn: lsn(0), start: 0, length: 1 }]
    expect(await others[0].readSlices(slices)).toEqual([text('a')])
    expect(say(await readAll(others[1], 0, 1))).toEqual(['a'])
  })

  it('refuses the open segment, and reports one that is gone', async () => {
    const log = await logIn(world())
    await expect(log.modify(0, 'memory')).rejects.toMatchObject({ code: 'CHAIN_CONFLICT' })
    expect(await log.modify(5, 'memory')).toEqual({ installed: false })
  })
})

describe('a log whose memory was forgotten', () => {
  it('closes the open segment 2^32 further and goes on with fresh LSNs', async () => {
    const w = world()
    const log = await logIn(w, { initialSpec: 'striped:2:memory' })
    for (const s of 'abc') await append(log, s)
    await log.reconfigure(0, 'striped:2:memory', 'x')
    for (const s of 'de') await append(log, s)
    await log.close()

    const restarted = world(w.metaStore)
    const again = await logIn(restarted)
    const end = 3 + 2 ** 32
    expect(again.chain.segments).toMatchObject([
      { index: 0, start: 0, end: 3 },
      { index: 1, start: 3, end },
      { index: 2, start: end, spec: 'striped:2:memory' },
    ])
    expect(await again.checkTail()).toBe(end)
    expect((await append(again, 'f')).lsn).toBe(end)
    expect(say(await readAll(again))).toEqual(['lost 0-3', `lost 3-${end}`, 'f'])
    expect(again.lostSegments().map(s => s.index)).toEqual([0, 1])
    expect(again.volatileSegments().map(s => s.index)).toEqual([0, 1, 2])
    expect(restarted.events.filter(e => e.type === 'lost')).toHaveLength(2)
    expect(await again.readSlices([{ lsn: lsn(1), start: 0, length: 1 }])).toMatchObject([
      { gap: 'lost' },
    ])
    await expect(again.modify(0, 'memory')).rejects.toMatchObject({ code: 'LOGLET_LOST' })
    expect(await again.prefixTrim(lsn(end))).toBe(end)
    expect((await again.truncate()).segments.map(s => s.index)).toEqual([2])
  })
})

describe('loglets that were made and not placed', () => {
  it('are deleted once the chain is past what they counted on, and not before', async () => {
    const w = world()
    const log = await logIn(w)
    const orphan = async (id: string, note: object): Promise<void> => {
      await (await w.registry.create(id, 'memory')).close()
      await w.metaStore.notes.put({ id, spec: 'memory', ...note })
    }
    await orphan('000001-dddddd', { expectedIndex: 0 })
    await orphan('000000-eeeeee', { expectedVersion: 1 })
    await log.collectOrphans()
    expect(await w.metaStore.notes.list()).toHaveLength(2)
    await (await w.registry.open('000001-dddddd', 'memory')).close()
    await log.reconfigure(0, 'memory', 'x')
    await log.collectOrphans()
    expect(await w.metaStore.notes.list()).toEqual([])
    for (const id of ['000001-dddddd', '000000-eeeeee'])
      await expect(w.registry.open(id, 'memory')).rejects.toMatchObject({ code: 'LOGLET_LOST' })
  })

  it('keep their store when the chain names them, whatever the note says', async () => {
    const w = world()
    const log = await logIn(w)
    const { id, spec } = lastSegment(log.chain)
    await w.metaStore.notes.put({ id, spec, expectedIndex: -1 })
    await log.collectOrphans()
    expect(await w.metaStore.notes.list()).toEqual([])
    expect(await append(log, 'a')).toEqual({ lsn: 0, segmentIndex: 0 })
  })
})

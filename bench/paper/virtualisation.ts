// What the VirtualLog costs: the same appends to a loglet directly and through a VirtualLog over one such loglet (Delos, figure 11).

import { alternate, type BenchContext } from '../context.ts'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { MemoryMetaStore } from '../../loglets/metastore/memory.ts'
import { nodeClock, nodeRandom } from '../../loglets/node-clock.ts'
import { nodeDisk } from '../../loglets/node-disk.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { number, spread, table } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { quantileOf, ratioOf, type Spread, spreadOf } from '../stats.ts'

interface Params {
  readonly rounds: number
  /** Of each side in a round. */
  readonly appends: Readonly<Record<'memory' | 'file', number>>
}

interface Cost {
  readonly appendsPerSecond: Spread
  /** µs, one append at a time. */
  readonly p50: Spread
  readonly p99: Spread
}

interface Row {
  readonly kind: string
  readonly direct: Cost
  readonly virtual: Cost
  /** Appends per second through the VirtualLog, as a ratio of the direct ones. */
  readonly throughput: Spread
}

interface Result {
  readonly rows: readonly Row[]
}

const entryBytes = 1024
const inFlight = 8
const warmRounds = 3
/** Appends for the throughput, beside those for the latency: with many in flight they are quick. */
const rateFactor = 5

export const virtualisation = scenario<Params, Result>({
  name: 'paper-virtual',
  group: 'paper',
  title: 'The cost of virtualisation',
  shows:
    'Every append goes through the VirtualLog, which picks the loglet of the open segment and converts positions. What does that add to the loglet alone?',
  params: {
    tiny: { rounds: 1, appends: { memory: 200, file: 20 } },
    short: { rounds: 11, appends: { memory: 8000, file: 300 } },
    full: { rounds: 101, appends: { memory: 5000, file: 2000 } },
  },
  seconds: p => 2 + (p.rounds + warmRounds) * (p.appends.memory * 2e-5 + p.appends.file * 0.0015),
  run: async (p, context) => ({
    rows: [await measure('memory', p, context), await measure('file', p, context)],
  }),
  section: ({ rows }): Section => {
    const [memory] = rows
    const added = (row: Row, pick: 'p50' | 'p99'): number =>
      row.virtual[pick].median - row.direct[pick].median
    return {
      body: [
        `Appends of ${entryBytes} bytes, one at a time for the latency and ${inFlight} in flight for the throughput, in one process without a broker.`,
        table(
          [
            'loglet',
            'direct p50 µs',
            'VirtualLog p50 µs',
            'direct p99 µs',
            'VirtualLog p99 µs',
            'direct appends/s',
            'VirtualLog appends/s',
            'ratio',
          ],
          rows.map(({ kind, direct, virtual, throughput }) => [
            `\`${kind}\``,
            spread(direct.p50),
            spread(virtual.p50),
            spread(direct.p99),
            spread(virtual.p99),
            number(direct.appendsPerSecond.median),
            number(virtual.appendsPerSecond.median),
            spread(throughput),
          ]),
        ),
        '`memory` stores nothing durably; it is here because a loglet that costs next to nothing shows what the layer above it costs. With `file` (which syncs) that disappears in the noise of the disk.',
        'The paper (figure 11): 100–150 µs more at p99 for an append, from a layer of asynchronous futures, and no loss of peak throughput.',
      ].join('\n\n'),
      plots: [],
      headlines:
        memory === undefined
          ? []
          : [
              {
                what: 'What the virtual log adds to an append (p50 / p99)',
                value: `${number(added(memory, 'p50'))} / ${number(added(memory, 'p99'))} µs`,
                beside: 'Delos: 100–150 µs at p99',
              },
            ],
    }
  },
})

type Append = (entry: readonly Uint8Array[]) => Promise<unknown>

async function measure(kind: 'memory' | 'file', p: Params, context: BenchContext): Promise<Row> {
  const sides = ['direct', 'virtual'] as const
  const once = (side: (typeof sides)[number]) =>
    withLog(kind, side, context, async append => {
      const latencies = await oneAtATime(append, p.appends[kind])
      return {
        rate: await rateOf(append, rateFactor * p.appends[kind]),
        p50: quantileOf(latencies, 0.5),
        p99: quantileOf(latencies, 0.99),
      }
    })
  // Compiled by the engine before anything counts.
  for (let i = 0; i < warmRounds; i++) for (const side of sides) await once(side)
  const found = await alternate(context, p.rounds, sides, once)
  const [direct = [], virtual = []] = found
  const costOf = (of: typeof direct): Cost => ({
    appendsPerSecond: spreadOf(of.map(m => m.rate)),
    p50: spreadOf(of.map(m => m.p50)),
    p99: spreadOf(of.map(m => m.p99)),
  })
  return {
    kind,
    direct: costOf(direct),
    virtual: costOf(virtual),
    throughput: ratioOf(
      virtual.map(m => m.rate),
      direct.map(m => m.rate),
    ),
  }
}

/** A new log for each round, so that neither side has the longer one. */
async function withLog<T>(
  kind: 'memory' | 'file',
  side: 'direct' | 'virtual',
  context: BenchContext,
  work: (append: Append) => Promise<T>,
): Promise<T> {
  const root = context.directory('loglets')
  const provider =
    kind === 'memory'
      ? new MemoryLogletProvider()
      : new FileLogletProvider({
          disk: nodeDisk(root),
          root: '.',
          clock: nodeClock,
          onFatal: error => {
            throw error
          },
        })
  const registry = new LogletRegistry([provider])
  const ports = { clock: nodeClock, random: nodeRandom }
  const log =
    side === 'direct'
      ? await registry.create('direct', kind, ports)
      : await VirtualLog.open({
          metaStore: new MemoryMetaStore(),
          registry,
          ...ports,
          initialSpec: kind,
        })
  try {
    return await work(entry => log.append(entry))
  } finally {
    await log.close()
    context.remove(root)
  }
}

/** µs of each. */
async function oneAtATime(append: Append, count: number): Promise<readonly number[]> {
  const entry = [new Uint8Array(entryBytes)]
  const latencies: number[] = []
  for (let i = 0; i < count; i++) {
    const start = performance.now()
    await append(entry)
    latencies.push((performance.now() - start) * 1000)
  }
  return latencies
}

async function rateOf(append: Append, count: number): Promise<number> {
  const entry = [new Uint8Array(entryBytes)]
  let left = count
  const lane = async (): Promise<void> => {
    while (left-- > 0) await append(entry)
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: inFlight }, lane))
  return count / ((performance.now() - start) / 1000)
}

// Logloom beside Redis Streams, NATS JetStream and Kafka: same machine, same minutes, same durability, each by its own client library.

import { alternate, type BenchContext } from '../context.ts'
import { type BenchProcess, scriptOf, startProcess } from '../processes.ts'
import { NotRunError, scenario } from '../scenario.ts'
import { ratioOf, spreadOf } from '../stats.ts'
import type { Answer, Command, PeerKind } from './peer-client.ts'
import {
  inFlightBytes,
  latencyBytes,
  type PeerRow,
  type PeersParams,
  type PeersResult,
} from './result.ts'
import { peersSection } from './section.ts'
import { type Durability, peerServers } from './servers.ts'

const kinds: readonly PeerKind[] = ['logloom', 'redis', 'nats', 'kafka']
const durabilities: readonly Durability[] = ['sync', 'later']

export const peers = scenario<PeersParams, PeersResult>({
  name: 'peers',
  group: 'peers',
  title: 'Redis Streams, NATS JetStream, Kafka',
  shows:
    'The same work for each broker: produce for a while, read all of it back, and send single records at a fixed rate. Compared is like with like: brokers that sync before they ack, and brokers that write and sync later.',
  params: {
    tiny: { rounds: 1, seconds: 0.15, sizes: [100], rate: 100 },
    short: { rounds: 5, seconds: 0.5, sizes: [100, 1024, 10_240], rate: 500 },
    full: { rounds: 15, seconds: 5, sizes: [100, 1024, 10_240, 102_400], rate: 500 },
  },
  seconds: p => 8 + p.rounds * 6 * (p.sizes.length * 1.5 * p.seconds + Math.min(p.seconds * 2, 5)),
  run,
  section: peersSection,
})

interface Side {
  readonly kind: PeerKind
  readonly durability: Durability
  readonly version: string
  readonly how: string
  readonly client: BenchProcess
}

interface Round {
  readonly produce: readonly number[]
  readonly consume: readonly number[]
  readonly p50: number
  readonly p99: number
}

async function run(p: PeersParams, context: BenchContext): Promise<PeersResult> {
  const notRun: PeersResult['notRun'][number][] = []
  const sides: Side[] = []
  for (const durability of durabilities)
    for (const kind of kinds)
      try {
        sides.push(await startSide(kind, durability, context))
      } catch (error) {
        // One that does not work here keeps nobody else from being measured.
        const reason = (error as Error).message
        notRun.push({
          kind,
          durability,
          reason: error instanceof NotRunError ? reason : `failed: ${reason}`,
        })
      }
  for (const side of sides) await measure(side, { ...p, seconds: p.seconds / 4 }, -1)
  const found = await alternate(context, p.rounds, sides, (side, round) => measure(side, p, round))
  const rows = sides.map((side, i): PeerRow => {
    const of = found[i] ?? []
    const ours = sides.findIndex(s => s.kind === 'logloom' && s.durability === side.durability)
    const base = found[ours] ?? []
    const bySize = (pick: 'produce' | 'consume') =>
      p.sizes.map((bytes, s) => {
        const values = of.map(m => m[pick][s] as number)
        return {
          bytes,
          mb: spreadOf(values),
          // How many times as fast Logloom was.
          ratio: ratioOf(
            base.map(m => m[pick][s] as number),
            values,
          ),
        }
      })
    return {
      kind: side.kind,
      durability: side.durability,
      version: side.version,
      how: side.how,
      produce: bySize('produce'),
      consume: bySize('consume'),
      p50: spreadOf(of.map(m => m.p50)),
      p99: spreadOf(of.map(m => m.p99)),
    }
  })
  return { rows, notRun }
}

async function startSide(
  kind: PeerKind,
  durability: Durability,
  context: BenchContext,
): Promise<Side> {
  const { url, version, durability: how } = await peerServers[kind](context, durability)
  const client = startProcess(scriptOf('peers/client-process.js'), [kind, url])
  context.defer(() => client.stop())
  await client.line()
  return { kind, durability, version, how, client }
}

async function measure({ client }: Side, p: PeersParams, round: number): Promise<Round> {
  const tell = async (command: Command): Promise<Answer> => {
    client.tell(JSON.stringify(command))
    return JSON.parse(await client.line()) as Answer
  }
  const produce: number[] = []
  const consume: number[] = []
  for (const bytes of p.sizes) {
    const stream = `bench-${round + 1}-${bytes}`
    const rateOf = ({ records = 0, seconds = 0 }: Answer): number =>
      (records * bytes) / 1e6 / seconds
    await tell({ do: 'create', stream })
    const sent = await tell({ do: 'produce', stream, bytes, inFlightBytes, seconds: p.seconds })
    produce.push(rateOf(sent))
    consume.push(rateOf(await tell({ do: 'consume', stream, records: sent.records ?? 0 })))
    await tell({ do: 'drop', stream })
  }
  const stream = `bench-${round + 1}-latency`
  await tell({ do: 'create', stream })
  const seconds = Math.min(p.seconds * 2, 5)
  const load = { do: 'latency', stream, bytes: latencyBytes, rate: p.rate, seconds } as const
  const { p50 = Number.NaN, p99 = Number.NaN } = await tell(load)
  await tell({ do: 'drop', stream })
  return { produce, consume, p50, p99 }
}

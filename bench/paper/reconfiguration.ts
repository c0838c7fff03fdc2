// How long a planned reconfiguration takes, hundreds of them under load (Delos, figure 12).

import { connect } from '../../client/index.ts'
import { startBroker, startCluster, urlOfSequencer } from '../brokers.ts'
import type { BenchContext } from '../context.ts'
import { nodeDisk } from '../../loglets/node-disk.ts'
import { histogramSvg } from '../report/histogram.ts'
import { number, table } from '../report/text.ts'
import { scenario, type Section } from '../scenario.ts'
import { quantileOf } from '../stats.ts'

interface Params {
  readonly switches: number
}

interface Times {
  readonly name: string
  /** Longest gap without an ack, ms. */
  readonly pausesMs: readonly number[]
  /** From the operator's request to its answer. */
  readonly totalsMs: readonly number[]
}

interface Result {
  readonly sides: readonly Times[]
  /** A write of 4 KiB and its sync on the same disk, between the switches. */
  readonly syncsMs: readonly number[]
}

const controlBytes = 4096

export const reconfiguration = scenario<Params, Result>({
  name: 'paper-reconfig',
  group: 'paper',
  title: 'How long a reconfiguration takes',
  shows:
    'A reconfiguration seals the open loglet, finds its tail and installs a new segment. Delos does one at every deploy, so its length is what clients feel of planned work.',
  params: { tiny: { switches: 4 }, short: { switches: 200 }, full: { switches: 2000 } },
  seconds: p => 4 + p.switches * 0.1,
  run: async (p, context) => {
    const broker = await startBroker(context, { loglet: 'file' })
    const syncsMs: number[] = []
    const one = await measure('one broker, `file`', broker.url, 'file', p, syncsMs, context)
    await broker.stop()
    const nodes = await startCluster(context, 'native', [{}, {}, {}])
    const url = await urlOfSequencer(nodes)
    const three = await measure('three nodes, `native`', url, 'native', p, syncsMs, context)
    await nodes.stop()
    return { sides: [one, three], syncsMs }
  },
  section,
})

async function measure(
  name: string,
  url: string,
  spec: string,
  p: Params,
  syncsMs: number[],
  context: BenchContext,
): Promise<Times> {
  const client = await connect(url)
  const stop = new AbortController()
  context.defer(async () => {
    stop.abort()
    await client.close()
  })
  const producer = client.producer({ lingerMs: 0 })
  const work = (async () => {
    while (!stop.signal.aborted) await producer.send('bench', { value: 'x' })
  })()
  const root = context.directory('control')
  const file = await nodeDisk(root).open('sync', { create: true })
  const bytes = new Uint8Array(controlBytes)
  const pausesMs: number[] = []
  const totalsMs: number[] = []
  for (let i = 0; i < p.switches; i++) {
    let start = performance.now()
    await file.write([bytes], i * bytes.length)
    await file.datasync()
    syncsMs.push(performance.now() - start)
    start = performance.now()
    pausesMs.push((await client.admin().switchLog(spec)).pauseMs)
    totalsMs.push(performance.now() - start)
    if (i % 50 === 49) context.tick(`${name}: ${i + 1} of ${p.switches}`)
  }
  await file.close()
  stop.abort()
  await work
  await client.close()
  return { name, pausesMs, totalsMs }
}

function section({ sides, syncsMs }: Result): Section {
  const row = (name: string, values: readonly number[]): readonly (string | number)[] => [
    name,
    values.length,
    ...[0.5, 0.9, 0.99, 1].map(q => number(quantileOf(values, q))),
  ]
  const native = sides[1]
  return {
    body: [
      'A client produces all the while, one record after the other, each synced before its ack.',
      table(
        ['', 'how many', 'p50 ms', 'p90 ms', 'p99 ms', 'max ms'],
        [
          ...sides.flatMap(({ name, pausesMs, totalsMs }) => [
            row(`${name}: pause of the producer`, pausesMs),
            row(`${name}: whole switch, as the operator sees it`, totalsMs),
          ]),
          row('control: write + fdatasync of 4 KiB on the same disk', syncsMs),
        ],
      ),
      '{plot:pauses}',
      'The paper (figure 12): tens of milliseconds within one data centre, over a month of production. Its nodes had a network between them and disks of their own; these have one disk and two cores together. A reconfiguration of `native` syncs on three replicas and on the three acceptors of the metastore, one step after the other.',
    ].join('\n\n'),
    plots:
      native === undefined
        ? []
        : [
            {
              name: 'pauses',
              alt: 'How often a pause of each length was seen',
              svg: histogramSvg({
                title: `Pauses of the producer at ${native.pausesMs.length} reconfigurations of native on three nodes`,
                axis: 'pause, ms',
                values: native.pausesMs,
              }),
            },
          ],
    headlines:
      native === undefined
        ? []
        : [
            {
              what: `Pause at ${native.pausesMs.length} reconfigurations of three nodes (p50 / p99)`,
              value:
                [0.5, 0.99].map(q => number(quantileOf(native.pausesMs, q))).join(' / ') + ' ms',
              beside: 'Delos: tens of ms',
            },
          ],
  }
}

// The section of the report about other brokers.

import { barsSvg } from '../report/bars.ts'
import { bytesText, count, number, spread, table, timesSpread } from '../report/text.ts'
import type { Headline, Plot, Section } from '../scenario.ts'
import type { PeerKind } from './peer-client.ts'
import {
  inFlightBytes,
  latencyBytes,
  type PeerRow,
  type PeersParams,
  type PeersResult,
} from './result.ts'
import type { Durability } from './servers.ts'

const names: Readonly<Record<PeerKind, string>> = {
  logloom: 'Logloom',
  redis: 'Redis Streams',
  nats: 'NATS JetStream',
  kafka: 'Kafka',
}

const titles: Readonly<Record<Durability, string>> = {
  sync: 'Synced to disk before the ack',
  later: 'Written before the ack, synced later',
}

const how = `Each broker runs alone but for the others standing idle, with one stream (topic) of one partition, driven by one client process with a library that is well known and kept up:

| broker | client | how many records are sent | how they are read |
| --- | --- | --- | --- |
| Logloom | its SDK (\`logloom/client\`) | \`enqueue\`; the producer makes batches of 64 KB | \`read\`, one record after the other |
| Redis | \`redis\` (node-redis) | one \`XADD\` per record, pipelined by the client | \`XREAD\` by pages of about 1 MB |
| NATS | \`@nats-io/jetstream\` | one publish per record, acks not waited for one by one | ordered consumer, 4 MB ahead |
| Kafka | \`@platformatic/kafka\` | batches of 64 KB in one \`send\` | consumer group, from the earliest |

At most ${bytesText(inFlightBytes)} of values is in flight, for all of them. Reading happens right after producing, so records come from memory: from Logloom's cache of the newest entries, from the system's page cache, and with Redis, which keeps its streams in memory, always.`

const why =
  'What the ratios come from: with a sync before every ack, what counts is how many records share one. Logloom and Kafka sync batches, and Logloom all batches that came meanwhile; Redis syncs once for all commands of a turn of its event loop; NATS syncs each record. Redis and NATS also take a command, and the client a reply, for each record.'

const footnote =
  '¹ Logloom has no setting that acks before the sync: `file` always syncs and `memory` never writes, which would be no fair partner for brokers that write. So that the code paths can be compared all the same, the benchmark replaces `fdatasync` in the broker by nothing. It is no mode of the product.'

export function peersSection({ rows, notRun }: PeersResult, p: PeersParams): Section {
  const versions = [...new Set(rows.map(r => r.version))].join(', ')
  return {
    body: [
      how,
      `Versions: ${versions}. *Logloom is* says how many times as fast Logloom was in the same rounds: below 1 it was slower.`,
      why,
      ...(['sync', 'later'] as const).map(durability => part(durability, rows, notRun, p)),
      footnote,
    ].join('\n\n'),
    plots: (['sync', 'later'] as const)
      .filter(durability => rows.some(r => r.durability === durability))
      .map(durability => plotOf(durability, rows, p)),
    headlines: headlinesOf(rows),
  }
}

function part(
  durability: Durability,
  all: readonly PeerRow[],
  notRun: PeersResult['notRun'],
  p: PeersParams,
): string {
  const rows = all.filter(r => r.durability === durability)
  const missing = notRun.filter(r => r.durability === durability)
  const nameOf = ({ kind, how }: PeerRow): string => `${names[kind]}: ${how}`
  const absent = (columns: number) =>
    missing.map(({ kind, reason }) => [
      `${names[kind]}: *not run*: ${reason.replaceAll(/[|\n]/g, ' ')}`,
      ...Array.from({ length: columns }, () => ''),
    ])
  const measures = p.sizes.flatMap(bytes => [`${bytesText(bytes)}: MB/s`, 'Logloom is'])
  const throughput = (pick: 'produce' | 'consume'): string =>
    table(
      [pick, ...measures],
      [
        ...rows.map(row => [
          nameOf(row),
          ...row[pick].flatMap(({ mb, ratio }) => [
            spread(mb),
            row.kind === 'logloom' ? '' : timesSpread(ratio),
          ]),
        ]),
        ...absent(measures.length),
      ],
    )
  return [
    `#### ${titles[durability]}`,
    `{plot:${durability}}`,
    throughput('produce'),
    throughput('consume'),
    table(
      [`latency at ${count(p.rate)} records/s of ${bytesText(latencyBytes)}`, 'p50 ms', 'p99 ms'],
      [...rows.map(row => [nameOf(row), spread(row.p50), spread(row.p99)]), ...absent(2)],
    ),
  ].join('\n\n')
}

function plotOf(durability: Durability, all: readonly PeerRow[], p: PeersParams): Plot {
  const rows = all.filter(r => r.durability === durability)
  return {
    name: durability,
    alt: `Produce and consume throughput of the brokers, ${titles[durability].toLowerCase()}`,
    svg: barsSvg({
      title: `${titles[durability]}: throughput by size of the record`,
      axis: 'MB/s',
      series: rows.map(r => names[r.kind]),
      groups: (['produce', 'consume'] as const).flatMap(pick =>
        p.sizes.map((bytes, s) => ({
          name: `${pick}, ${bytesText(bytes)}`,
          values: rows.map(r => r[pick][s]?.mb),
        })),
      ),
    }),
  }
}

function headlinesOf(rows: readonly PeerRow[]): readonly Headline[] {
  return rows
    .filter(r => r.kind !== 'logloom' && r.durability === 'sync')
    .map(row => ({
      what: `Logloom beside ${names[row.kind]}, both synced before the ack, records of ${row.produce.map(({ bytes }) => bytesText(bytes)).join(' / ')}`,
      value: `produce ${ratios(row.produce)}, consume ${ratios(row.consume)}`,
      beside: '1×: as fast',
    }))
}

const ratios = (of: PeerRow['produce']): string =>
  of.map(({ ratio }) => `${number(ratio.median)}×`).join(' / ')

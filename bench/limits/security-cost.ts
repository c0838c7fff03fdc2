// What authentication, ACLs and TLS cost: the same load on brokers that differ in nothing else.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type NewAclBinding } from '../../client/index.ts'
import { type Server, startBroker } from '../brokers.ts'
import type { BenchContext } from '../context.ts'
import { count, number, spread, table, timesSpread } from '../report/text.ts'
import { NotRunError, scenario, type Section } from '../scenario.ts'
import { runTurns } from '../speed/options.ts'
import { medianOf, quantileOf, type Spread, spreadOf } from '../stats.ts'

interface Params {
  readonly rounds: number
  readonly turnMs: number
}

interface Row {
  readonly side: string
  readonly shape: string
  readonly mb: Spread
  /** Per second. */
  readonly requests: number
  /** Requests per second beside those of the broker without any of it, in the same round: median, and quartiles as `min` and `max`. */
  readonly ratio: Spread
  readonly p50: Spread
  /** Of the broker. */
  readonly cpuUsPerRequest: number
}

interface Result {
  readonly rows: readonly Row[]
}

interface Secured {
  readonly name: string
  readonly server: Server
  readonly credential: { readonly token?: string; readonly caFile?: string }
}

const shapes = [
  { name: '64 KB batches of 1 KB records', recordBytes: 1024, batchBytes: 65_536, inFlight: 8 },
  { name: 'one record of 100 B each', recordBytes: 100, batchBytes: 172, inFlight: 64 },
] as const
const sideNames = ['off', 'tokens and ACLs', 'TLS', 'tokens, ACLs and TLS'] as const
/** Of others, so that there is something to look through. */
const otherRules = 500
const topic = 'bench'
const warmUps = 3
/** Nothing is synced, so that no disk hides what security costs; what was written goes soon, so that memory does for it. */
const forgetful = [
  '--log-retention-bytes=1048576',
  '--reclaim-bytes-min=33554432',
  '--memory-loglet-bytes-max=1073741824',
]

export const securityCost = scenario<Params, Result>({
  name: 'limits-security-cost',
  group: 'limits',
  title: 'What security costs',
  shows:
    'The same client sends the same frames as fast as answers come, to brokers with and without authentication, ACLs and TLS.',
  params: {
    tiny: { rounds: 1, turnMs: 50 },
    short: { rounds: 21, turnMs: 100 },
    full: { rounds: 301, turnMs: 200 },
  },
  seconds: p => 5 + (p.rounds + warmUps) * sideNames.length * shapes.length * (p.turnMs / 1000),
  run: async (p, context) => {
    const tls = makeCertificate(context)
    const brokers = [
      await secured(context, 'off'),
      await secured(context, 'tokens and ACLs', { tokens: true }),
      await secured(context, 'TLS', { tls }),
      await secured(context, 'tokens, ACLs and TLS', { tokens: true, tls }),
    ]
    const sides = brokers.map(({ server, credential }) => ({ url: server.url, ...credential }))
    const cpuNow = (): Promise<readonly number[]> =>
      Promise.all(brokers.map(async ({ server }) => (await server.gauges()).cpuMs))
    const rows: Row[] = []
    for (const { name: shape, ...load } of shapes) {
      await runTurns({ ...load, ...p, sides, topic, rounds: warmUps, warmUps: 0 })
      const before = await cpuNow()
      const turns = await runTurns({ ...load, ...p, sides, topic, warmUps: 0 })
      const after = await cpuNow()
      const rates = turns.map(of => of.map(turn => turn.requests / turn.seconds))
      turns.forEach((of, i) => {
        const requests = of.reduce((sum, turn) => sum + turn.requests, 0)
        rows.push({
          side: sideNames[i] as string,
          shape,
          mb: spreadOf(of.map(({ bytes, seconds }) => bytes / 1e6 / seconds)),
          requests: medianOf(rates[i] ?? []),
          ratio: quartilesOf(rates[i] ?? [], rates[0] ?? []),
          p50: spreadOf(of.map(({ p50 }) => p50)),
          cpuUsPerRequest: (((after[i] ?? 0) - (before[i] ?? 0)) * 1000) / requests,
        })
      })
      context.tick(shape)
    }
    return { rows }
  },
  section,
})

/** Of each round's own ratio: half of them lie within. */
function quartilesOf(values: readonly number[], base: readonly number[]): Spread {
  const ratios = values.map((value, i) => value / (base[i] as number))
  const [min, max] = [quantileOf(ratios, 0.25), quantileOf(ratios, 0.75)]
  return { median: medianOf(ratios), min, max, n: ratios.length }
}

interface Tls {
  readonly cert: string
  readonly key: string
}

/** One for loopback. @throws NotRunError where there is no openssl */
function makeCertificate(context: BenchContext): Tls {
  const directory = context.directory('tls')
  const [cert, key] = [join(directory, 'tls.crt'), join(directory, 'tls.key')]
  const wishes =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1'
  try {
    execFileSync('openssl', [...wishes.split(' '), '-keyout', key, '-out', cert], {
      stdio: 'ignore',
    })
  } catch (error) {
    throw new NotRunError(`no certificate: openssl: ${(error as Error).message.slice(0, 200)}`)
  }
  return { cert, key }
}

/** A broker with the topic, and a principal that may write to it where it asks for one. */
async function secured(
  context: BenchContext,
  name: (typeof sideNames)[number],
  { tokens = false, tls }: { readonly tokens?: boolean; readonly tls?: Tls } = {},
): Promise<Secured> {
  const data = context.directory('broker')
  const server = await startBroker(context, {
    loglet: 'memory',
    data,
    args: [
      ...forgetful,
      ...(tokens ? ['--authentication', 'required'] : []),
      ...(tls ? ['--tls-cert-file', tls.cert, '--tls-key-file', tls.key] : []),
    ],
  })
  const own = tls === undefined ? {} : { caFile: tls.cert }
  const admin = await connect(server.url, {
    ...(tokens ? { token: readFileSync(join(data, 'admin.token'), 'utf8').trim() } : {}),
    ...(tls ? { tls: { ca: readFileSync(tls.cert, 'utf8') } } : {}),
  })
  try {
    await admin.admin().createTopic({ topic })
    if (!tokens) return { name, server, credential: own }
    const principal = 'User:load'
    const right = { principal, resource: 'topic', name: topic, operation: 'write' } as const
    const others = Array.from({ length: otherRules - 1 }, (_, i): NewAclBinding => {
      return { ...right, principal: `User:other-${i}`, name: `topic-${i}` }
    })
    await admin.admin().createAcls([right, ...others])
    const { token } = await admin.admin().createToken({ principal })
    return { name, server, credential: { token, ...own } }
  } finally {
    await admin.close()
  }
}

function section({ rows }: Result): Section {
  const all = rows.find(row => row.side === 'tokens, ACLs and TLS')
  return {
    body: [
      `One connection, \`memory\`: nothing is synced, so that no disk hides the cost, and with a disk it is a smaller part. ${otherRules} ACLs, of which one is the client's. Who somebody is gets checked once for each connection, and what it may do is remembered by the connection until an ACL changes. TLS encrypts on both sides, and the client runs on the same two cores: *broker CPU* is the broker's own. One client loads all four in turns of a moment each; *beside off* is the median of the ratios of each round, with the quartiles in brackets.`,
      table(
        ['', 'MB/s', 'requests/s', 'beside off', 'p50 ms', 'broker CPU, µs per request'],
        rows.map(row => [
          `${row.shape}: ${row.side}`,
          spread(row.mb),
          count(Math.round(row.requests)),
          timesSpread(row.ratio),
          spread(row.p50),
          number(row.cpuUsPerRequest),
        ]),
      ),
    ].join('\n\n'),
    plots: [],
    headlines:
      all === undefined
        ? []
        : [
            {
              what: 'Throughput with tokens, ACLs and TLS, 1 KB records',
              value: timesSpread(all.ratio),
              beside: 'of the same broker without any of them',
            },
          ],
  }
}

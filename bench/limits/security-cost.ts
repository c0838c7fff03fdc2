// What authentication, ACLs and TLS cost: the same load on brokers that differ in nothing else.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type NewAclBinding } from '../../client/index.ts'
import { type Server, startBroker } from '../brokers.ts'
import { alternate, type BenchContext } from '../context.ts'
import { count, number, spread, table, timesSpread } from '../report/text.ts'
import { NotRunError, scenario, type Section } from '../scenario.ts'
import { megabytesPerSecond, runLoad } from '../speed/options.ts'
import { ratioOf, type Spread, spreadOf } from '../stats.ts'

interface Params {
  readonly rounds: number
  readonly seconds: number
}

interface Row {
  readonly side: string
  readonly shape: string
  readonly mb: Spread
  readonly requests: Spread
  /** Requests per second beside those of the broker that asks nobody. */
  readonly ratio: Spread
  readonly p50: Spread
  readonly p99: Spread
  /** Of the broker. */
  readonly cpuUsPerRequest: Spread
}

interface Result {
  readonly rows: readonly Row[]
}

interface Secured {
  readonly name: string
  readonly server: Server
  readonly token?: string
  readonly caFile?: string
}

const shapes = [
  { name: '64 KB batches of 1 KB records', recordBytes: 1024, batchBytes: 65_536, inFlight: 8 },
  { name: 'one record of 100 B each', recordBytes: 100, batchBytes: 172, inFlight: 64 },
] as const
const sideNames = ['off', 'tokens and ACLs', 'TLS', 'tokens, ACLs and TLS'] as const
/** Of others, so that there is something to look through. */
const otherRules = 500
const topic = 'bench'
/** Nothing is synced, so that no disk hides what security costs; what was written goes soon, so that memory does for it. */
const forgetful = [
  ...['--log-retention-bytes', '1048576'],
  ...['--reclaim-bytes-min', '33554432'],
  ...['--memory-loglet-bytes-max', '1073741824'],
]

export const securityCost = scenario<Params, Result>({
  name: 'limits-security-cost',
  group: 'limits',
  title: 'What security costs',
  shows:
    'The same client sends the same frames as fast as answers come, to brokers with and without authentication, ACLs and TLS.',
  params: {
    tiny: { rounds: 1, seconds: 0.2 },
    short: { rounds: 5, seconds: 0.4 },
    full: { rounds: 15, seconds: 5 },
  },
  seconds: p => 4 + (p.rounds + 0.5) * sideNames.length * shapes.length * (p.seconds + 0.4),
  run: async (p, context) => {
    const tls = makeCertificate(context)
    const brokers = [
      await secured(context, 'off'),
      await secured(context, 'tokens and ACLs', { tokens: true }),
      await secured(context, 'TLS', { tls }),
      await secured(context, 'tokens, ACLs and TLS', { tokens: true, tls }),
    ]
    const sides = shapes.flatMap(shape => brokers.map(broker => ({ shape, broker })))
    const measure = async ({ shape, broker }: (typeof sides)[number], seconds: number) => {
      const { name: _, ...load } = shape
      const { server, name: __, ...credential } = broker
      const { cpuMs: before } = await server.gauges()
      const result = await runLoad({
        ...load,
        ...credential,
        url: server.url,
        hello: true,
        topic,
        seconds,
      })
      const { cpuMs } = await server.gauges()
      const { p50, p99, batches } = result
      const cpuUs = ((cpuMs - before) * 1000) / batches
      return {
        mb: megabytesPerSecond(result),
        requests: batches / result.seconds,
        p50,
        p99,
        cpuUs,
      }
    }
    for (const side of sides) await measure(side, p.seconds / 2)
    const found = await alternate(context, p.rounds, sides, side => measure(side, p.seconds))
    return {
      rows: sides.map(({ shape, broker }, n) => {
        const of = found[n] ?? []
        const off = found[n - (n % brokers.length)] ?? []
        return {
          side: broker.name,
          shape: shape.name,
          mb: spreadOf(of.map(m => m.mb)),
          requests: spreadOf(of.map(m => m.requests)),
          ratio: ratioOf(
            of.map(m => m.requests),
            off.map(m => m.requests),
          ),
          p50: spreadOf(of.map(m => m.p50)),
          p99: spreadOf(of.map(m => m.p99)),
          cpuUsPerRequest: spreadOf(of.map(m => m.cpuUs)),
        }
      }),
    }
  },
  section,
})

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
    if (!tokens) return { name, server, ...own }
    const principal = 'User:load'
    const right = { principal, resource: 'topic', name: topic, operation: 'write' } as const
    const others = Array.from({ length: otherRules - 1 }, (_, i): NewAclBinding => {
      return { ...right, principal: `User:other-${i}`, name: `topic-${i}` }
    })
    await admin.admin().createAcls([right, ...others])
    const { token } = await admin.admin().createToken({ principal })
    return { name, server, token, ...own }
  } finally {
    await admin.close()
  }
}

function section({ rows }: Result): Section {
  const all = rows.find(row => row.side === 'tokens, ACLs and TLS')
  return {
    body: [
      `One connection, \`memory\`: nothing is synced, so that no disk hides the cost, and with a disk it is a smaller part. ${otherRules} ACLs, of which one is the client's. Who somebody is gets checked once for each connection, and what it may do is remembered by the connection until an ACL changes. TLS encrypts on both sides, and the client runs on the same two cores: *broker CPU* is the broker's own.`,
      table(
        ['', 'MB/s', 'requests/s', 'beside off', 'p50 ms', 'p99 ms', 'broker CPU, µs per request'],
        rows.map(row => [
          `${row.shape}: ${row.side}`,
          spread(row.mb),
          count(Math.round(row.requests.median)),
          timesSpread(row.ratio),
          spread(row.p50),
          spread(row.p99),
          spread(row.cpuUsPerRequest),
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
              value: `${number(all.ratio.median)}×`,
              beside: 'of the same broker without any of them',
            },
          ],
  }
}

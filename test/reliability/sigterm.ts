// Row 19: SIGTERM under load, of a broker alone that comes back at its address, and of each node of three in turn. Producers, readers and a
// group go on through it with the SDK: they may try again, but see no error.

import { join } from 'node:path'
import { type Client, connect } from '../../client/index.ts'
import { freePort, startBrokerProcess, withDirectory } from '../acceptance/broker-process.ts'
import { ClusterOfProcesses } from '../acceptance/cluster.ts'
import { type Suite, suiteMain } from './suite.ts'

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
const partitions = 4
const producers = 3
const exitMsMax = 60_000

interface Stop {
  readonly code: number | string
  readonly ms: number
}

/** Something that can be stopped with SIGTERM and started again. */
interface Target {
  readonly urls: readonly string[]
  readonly places: number
  stop(place: number): Promise<Stop>
  start(place: number): Promise<void>
}

interface Outcome {
  readonly stops: readonly Stop[]
  readonly attempted: number
  readonly acked: number
  readonly read: number
  readonly lost: number
  readonly duplicate: number
  readonly unseen: number
  readonly errors: readonly string[]
}

async function under(target: Target, rounds: number, betweenMs: number): Promise<Outcome> {
  const topic = 'term'
  const clients: Client[] = []
  const errors: string[] = []
  const open = async (): Promise<Client> => {
    const client = await connect(target.urls)
    clients.push(client)
    return client
  }
  const noted = (what: string) => (error: unknown) => {
    errors.push(`${what}: ${error instanceof Error ? error.message : String(error)}`)
  }
  await (await open()).admin().createTopic({ topic, partitions })
  const acked = new Set<string>()
  let attempted = 0
  const seen = new Map<string, number>()
  const grouped = new Set<string>()
  const over = new AbortController()
  const writing = Array.from({ length: producers }, async (_, p) => {
    const producer = (await open()).producer()
    const sends: Promise<void>[] = []
    for (let n = 0; !over.signal.aborted; n++) {
      attempted++
      const value = `${p}-${n}`
      await producer.ready()
      sends.push(
        producer
          .send(topic, { value }, { partition: n % partitions })
          .then(() => void acked.add(value), noted('send')),
      )
      if (n % 20 === 0) await sleep(5)
    }
    await producer.flush().catch(noted('flush'))
    await Promise.all(sends)
  })
  const end = new AbortController()
  const reader = await open()
  const reading = (async () => {
    try {
      const records = reader.read(topic, { from: 'beginning', as: 'text', signal: end.signal })
      for await (const { value } of records) seen.set(value ?? '', (seen.get(value ?? '') ?? 0) + 1)
    } catch (error) {
      if (!end.signal.aborted) noted('read')(error)
    }
  })()
  const consumers = []
  for (let i = 0; i < 2; i++) {
    const consumer = (await open()).consumer({
      groupId: 'term',
      topics: topic,
      as: 'text',
      autoOffsetReset: 'earliest',
      autoCommitIntervalMs: 500,
    })
    consumers.push(consumer)
    consumer.run(({ value }) => void grouped.add(value ?? '')).catch(noted('consumer'))
  }
  const stops: Stop[] = []
  for (let round = 0; round < rounds; round++) {
    await sleep(betweenMs)
    const place = round % target.places
    stops.push(await target.stop(place))
    await target.start(place)
  }
  await sleep(betweenMs)
  over.abort()
  await Promise.all(writing)
  const until = performance.now() + 60_000
  const isDone = (): boolean =>
    [...acked].every(value => seen.has(value)) && [...acked].every(value => grouped.has(value))
  while (!isDone() && performance.now() < until) await sleep(100)
  end.abort()
  await reading
  await Promise.all(consumers.map(consumer => consumer.close().catch(noted('close'))))
  const found = new Map<string, number>()
  const last = (await open()).read(topic, { from: 'beginning', until: 'end', as: 'text' })
  for await (const { value } of last) found.set(value ?? '', (found.get(value ?? '') ?? 0) + 1)
  await Promise.all(clients.map(client => client.close()))
  return {
    stops,
    attempted,
    acked: acked.size,
    read: [...found.values()].reduce((sum, n) => sum + n, 0),
    lost: [...acked].filter(value => !found.has(value)).length,
    duplicate: [...found.values(), ...seen.values()].filter(n => n > 1).length,
    unseen: [...acked].filter(value => !seen.has(value) || !grouped.has(value)).length,
    errors,
  }
}

function alone(rounds: number, betweenMs: number): Promise<Outcome> {
  return withDirectory(async directory => {
    const data = join(directory, 'data')
    const port = await freePort()
    let broker = await startBrokerProcess({ data, port })
    const stop = async (): Promise<Stop> => {
      const begun = performance.now()
      return { code: await broker.kill('SIGTERM'), ms: performance.now() - begun }
    }
    const outcome = await under(
      {
        urls: [broker.url],
        places: 1,
        stop,
        start: async () => {
          broker = await startBrokerProcess({ data, port })
        },
      },
      rounds,
      betweenMs,
    )
    await broker.kill('SIGTERM')
    return outcome
  })
}

function inCluster(rounds: number, betweenMs: number): Promise<Outcome> {
  return withDirectory(async directory => {
    const cluster = await ClusterOfProcesses.start(join(directory, 'cluster'))
    try {
      return await under(
        {
          urls: cluster.urls,
          places: 3,
          stop: async place => {
            const begun = performance.now()
            const code = await cluster.kill(place, 'SIGTERM')
            return { code: code ?? 'none', ms: performance.now() - begun }
          },
          start: place => cluster.startNode(place),
        },
        rounds,
        betweenMs,
      )
    } finally {
      await cluster.close()
    }
  })
}

export const run: Suite = async ({ form, seconds }) => {
  const begun = performance.now()
  const isShort = form === 'short'
  const betweenMs = (seconds ?? (isShort ? 1 : 5)) * 1000
  const outcomes = [
    await alone(isShort ? 1 : 10, betweenMs),
    await inCluster(isShort ? 1 : 9, betweenMs),
  ]
  const sum = (pick: (outcome: Outcome) => number): number =>
    outcomes.reduce((total, outcome) => total + pick(outcome), 0)
  const stops = outcomes.flatMap(outcome => outcome.stops)
  const errors = outcomes.flatMap(outcome => outcome.errors)
  const counts = {
    stops: stops.length,
    attempted: sum(o => o.attempted),
    acked: sum(o => o.acked),
    read: sum(o => o.read),
    lost: sum(o => o.lost),
    duplicate: sum(o => o.duplicate),
    unseen: sum(o => o.unseen),
    errors: errors.length,
    exitCodesNotZero: stops.filter(({ code }) => code !== 0).length,
  }
  const longestStopMs = Math.round(Math.max(...stops.map(({ ms }) => ms)))
  const wrong = [
    counts.lost > 0 && `${counts.lost} acked records are lost`,
    counts.duplicate > 0 && `${counts.duplicate} records are there twice`,
    counts.unseen > 0 && `${counts.unseen} records were not seen by the reader or the group`,
    errors.length > 0 && `errors: ${[...new Set(errors)].slice(0, 3).join(' | ')}`,
    counts.acked !== counts.attempted && 'not everything was acked',
    counts.exitCodesNotZero > 0 && `exit codes ${stops.map(({ code }) => code).join()}`,
    longestStopMs > exitMsMax && `a stop took ${longestStopMs} ms`,
  ].filter(Boolean)
  return {
    row: 19,
    name: 'sigterm',
    command: `node dist/test/reliability/sigterm.js${isShort ? ' --short' : ''}`,
    seconds: Math.round((performance.now() - begun) / 1000),
    counts,
    figures: { longestStopMs },
    passed: wrong.length === 0,
    ...(wrong.length === 0 ? {} : { notes: wrong.join('; ') }),
  }
}

await suiteMain(import.meta.url, run)

// A queue of worker processes over three node processes: workers and nodes are killed, some records make their handler fail, some kill their process.
// Each record has to come out once: as an output that was written in one append with its acknowledgement, or as a dead letter.
// Usage: node queue-chaos.js [SECONDS=120]
//
//   controller ── producer ──► tasks (2 partitions) ──► 6 workers (processes) ──┬─ transaction ──► answers ──► checker
//                                                                             └─ delivered 4 times ──► dead ──┘

import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { type Client, connect } from '../../client/index.ts'
import { type ClusterOfProcesses, withCluster } from './cluster.ts'

const group = 'workers'
const workersCount = 6
const recordLockDurationMs = 2000
const deliveryCountLimit = 4
/** Every so many records one whose handler throws, and one that ends its process. */
const failingEvery = 97
const killingEvery = 997
/** Exit code of a worker that a record has ended. */
const killedByRecord = 3
/** Compiled: also when a test runner loads this as TypeScript. */
const program = fileURLToPath(import.meta.url).replace(
  /\/test\/acceptance\/queue-chaos\.ts$/,
  '/dist/test/acceptance/queue-chaos.js',
)
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export interface QueueReport {
  readonly produced: number
  readonly answered: number
  readonly dead: number
  /** Neither answered nor dead. */
  readonly lost: number
  /** Answered twice, dead twice, or both. */
  readonly duplicate: number
  /** Answers to records whose handler always fails, or always kills its process. */
  readonly impossible: number
  /** Dead although neither: the process died each time that it was delivered. */
  readonly unlucky: number
  readonly workerKills: number
  /** Workers that a record has killed. */
  readonly killedByRecords: number
  readonly nodeKills: number
  /** From the last record until everything was finished, ms. */
  readonly drainMs: number
}

export function queueChaos(seconds: number): Promise<QueueReport> {
  return withCluster((cluster, client) => run(cluster, client, seconds))
}

async function run(
  cluster: ClusterOfProcesses,
  client: Client,
  seconds: number,
): Promise<QueueReport> {
  const admin = client.admin()
  for (const topic of ['tasks', 'answers', 'dead'])
    await admin.createTopic({ topic, partitions: topic === 'tasks' ? 2 : 1 })
  let killedByRecords = 0
  let over = false
  const startWorker = (at: number): void => {
    const child = spawn(process.execPath, [program, 'worker', cluster.urls.join()], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    workers[at] = child
    // As a supervisor does.
    child.on('exit', code => {
      if (code === killedByRecord) killedByRecords++
      // Null when a signal ended it.
      else if (code !== null) failures.push(`a worker ended with exit code ${code}`)
      if (!over && failures.length === 0) startWorker(at)
    })
  }
  const failures: string[] = []
  const workers: ChildProcess[] = []
  for (let i = 0; i < workersCount; i++) startWorker(i)
  let produced = 0
  const stop = new AbortController()
  const producing = (async () => {
    const producer = client.producer()
    while (!stop.signal.aborted) {
      for (let i = 0; i < 5; i++, produced++)
        producer.enqueue('tasks', { key: `k${produced % 100}`, value: String(produced) })
      await producer.flush()
      await sleep(25)
    }
    await producer.close()
  })()
  let workerKills = 0
  let nodeKills = 0
  const deadline = performance.now() + seconds * 1000
  for (let turn = 0; performance.now() < deadline && failures.length === 0; turn++) {
    await sleep(1500)
    if (turn % 3 === 2) {
      const node = Math.floor(turn / 3) % 3
      await cluster.kill(node)
      nodeKills++
      await sleep(1500)
      await cluster.startNode(node)
    } else {
      workers[turn % workersCount]?.kill('SIGKILL')
      workerKills++
    }
  }
  stop.abort()
  await producing
  if (failures.length > 0) throw new Error(failures.join('; '))
  const begunMs = performance.now()
  while (!(await isDrained(client))) await sleep(100)
  const drainMs = Math.round(performance.now() - begunMs)
  over = true
  for (const child of workers) child.kill('SIGKILL')
  const counts = await check(client, produced)
  return { ...counts, workerKills, killedByRecords, nodeKills, drainMs }
}

async function isDrained(client: Client): Promise<boolean> {
  const { partitions } = await client.admin().describeShareGroup(group)
  return partitions.length === 2 && partitions.every(({ lag }) => lag === 0)
}

async function check(client: Client, produced: number) {
  const outcomes = new Map<string, number>()
  const valuesOf = async (topic: string): Promise<string[]> => {
    const values: string[] = []
    for await (const { value } of client.read(topic, { from: 'beginning', until: 'end' })) {
      values.push(value as string)
      outcomes.set(value as string, (outcomes.get(value as string) ?? 0) + 1)
    }
    return values
  }
  const answered = await valuesOf('answers')
  const dead = await valuesOf('dead')
  let lost = 0
  for (let i = 0; i < produced; i++) if (!outcomes.has(String(i))) lost++
  return {
    produced,
    answered: answered.length,
    dead: dead.length,
    lost,
    duplicate: [...outcomes.values()].reduce((sum, n) => sum + n - 1, 0),
    impossible: answered.filter(isHopeless).length,
    unlucky: dead.filter(value => !isHopeless(value)).length,
  }
}

function isHopeless(value: string): boolean {
  return Number(value) % failingEvery === 1 || Number(value) % killingEvery === 2
}

/** One worker: until it is killed. */
async function worker(urls: readonly string[]): Promise<void> {
  const client = await connect(urls)
  for (;;) {
    const queue = client.queue({
      group,
      topics: 'tasks',
      autoOffsetReset: 'earliest',
      deadLetter: 'dead',
      recordLockDurationMs,
      deliveryCountLimit,
      maxRecords: 50,
    })
    try {
      await queue.run(
        async record => {
          if (Number(record.value) % killingEvery === 2) process.exit(killedByRecord)
          if (Number(record.value) % failingEvery === 1) throw new Error('this one never works')
          await client.transaction(tx => {
            tx.send('answers', { key: record.key, value: record.value })
            tx.ack(record)
          })
        },
        { concurrency: 8, retry: { backoffMs: 100 } },
      )
    } catch (error) {
      process.stderr.write(`worker: ${(error as Error).message}\n`)
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  if (process.argv[2] === 'worker') await worker((process.argv[3] ?? '').split(','))
  else {
    const report = await queueChaos(Number(process.argv[2] ?? 120))
    process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
    if (report.lost + report.duplicate + report.impossible > 0) process.exitCode = 1
  }
}

// Dashboards and rules against brokers and a Prometheus that are real: every query of every panel and rule gives data.

import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connect } from '../../client/index.ts'
import { dashboards } from '../../grafana/source/dashboards.ts'
import { files } from '../../grafana/source/write.ts'
import { withDirectory } from '../acceptance/broker-process.ts'
import { ClusterOfProcesses } from '../acceptance/cluster.ts'
import { rootDirectory } from '../repo/sources.ts'
import { Prometheus, type Sample } from './prometheus.ts'
import { alertConditions, type Asked, metricsIn, panelQueries, ruleQueries } from './queries.ts'

const hasPrometheus =
  spawnSync('prometheus', ['--version']).status === 0 &&
  spawnSync('promtool', ['--version']).status === 0
if (!hasPrometheus && process.env.CI === 'true')
  throw new Error('CI must have Prometheus: apt-get install prometheus')

const rulesPath = join(rootDirectory, 'grafana/prometheus/rules.yml')
const read = (path: string): string => readFileSync(join(rootDirectory, path), 'utf8')
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** Queries that give nothing while nothing is wrong, and what they need. */
const needsFault: Readonly<Record<string, string>> = {
  'alert LogloomCertExpiring': 'nodes with certificates',
}

describe('the files of dashboards and rules', () => {
  it('are what their sources make: `npm run grafana`', () => {
    for (const [path, content] of files()) {
      const there = read(`grafana/${path}`)
      if (path.endsWith('.json')) expect(JSON.parse(there), path).toEqual(JSON.parse(content))
      else expect(there, path).toBe(content)
    }
  })

  it('use every metric of docs/metrics.md, and no others', () => {
    const asked = [...panelQueries(), ...ruleQueries(), ...alertConditions]
    const used = new Set(asked.flatMap(({ expr }) => metricsIn(expr)))
    const documented = new Set(
      [...read('docs/metrics.md').matchAll(/^\| `(logloom_[a-z0-9_]+)`/gm)].map(match => match[1]),
    )
    expect([...used].filter(name => !documented.has(name))).toEqual([])
    expect([...documented].filter(name => !used.has(name as string))).toEqual([])
  })

  it('say of each panel what it means', () => {
    for (const { rows } of Object.values(dashboards))
      for (const { panels } of rows)
        for (const { title, description } of panels)
          expect(description.length, title).toBeGreaterThan(10)
  })
})

describe.skipIf(!hasPrometheus)('a cluster under load (needs Prometheus)', () => {
  let prometheus: Prometheus
  let finish: () => void
  let over: Promise<void>

  beforeAll(async () => {
    const finished = new Promise<void>(resolve => {
      finish = resolve
    })
    await new Promise<void>((ready, failed) => {
      over = withDirectory(async directory => {
        const cluster = await ClusterOfProcesses.start(join(directory, 'cluster'), 3, {
          args: ['--canary-interval-ms', '300', '--metrics-per-partition'],
        })
        const targets = cluster.urls.map(url => url.replace('ws://', ''))
        prometheus = await Prometheus.start(join(directory, 'prometheus'), targets, rulesPath)
        try {
          // The first scrape of a broker loads the library: on a busy machine that may take a while.
          while ((await prometheus.query('logloom_build_info')).length < 3) await sleep(100)
          const stop = await load(cluster.urls)
          ready()
          await finished
          await stop()
        } finally {
          await prometheus.close()
          await cluster.close()
        }
      })
      over.catch(failed)
    })
  }, 150_000)

  afterAll(async () => {
    finish()
    await over
  }, 60_000)

  const emptyOf = async (asked: readonly Asked[]): Promise<string[]> => {
    const empty: string[] = []
    for (const { by, expr } of asked) {
      const found = await prometheus.query(expr)
      if (!found.some(hasNumber) && needsFault[by] === undefined) empty.push(`${by}: ${expr}`)
    }
    return empty
  }

  it('gives data to every query of every panel', async () => {
    expect(await emptyOf(panelQueries())).toEqual([])
  })

  it('gives data to every rule', async () => {
    expect(await emptyOf(ruleQueries())).toEqual([])
  })

  it('raises no alert that tells of a fault', async () => {
    const firing: string[] = []
    for (const { by, expr } of alertConditions)
      if ((await prometheus.query(expr)).length > 0) firing.push(by)
    // A short run says little about trends and a noisy disk.
    const trends = ['LogloomDiskWillFill', 'LogloomFsyncSlow', 'LogloomLagKeepsIncreasing']
    expect(
      firing.filter(name => !trends.includes(name) && name !== 'LogloomEventLoopBlocked'),
    ).toEqual([])
  })

  it('counts what all nodes know once', async () => {
    const [partitions] = await prometheus.query('sum(logloom_topic_partitions{topic="busy"})')
    expect(partitions?.value[1]).toBe('4')
  })
})

describe.skipIf(!hasPrometheus)('the rules (needs promtool)', () => {
  it('are well formed', () => {
    const text = execFileSync('promtool', ['check', 'rules', rulesPath], { encoding: 'utf8' })
    expect(text).toContain('SUCCESS')
  })

  it('fire when they should: grafana/prometheus/rules.test.yml', () => {
    const path = join(rootDirectory, 'grafana/prometheus/rules.test.yml')
    const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', path], {
      encoding: 'utf8',
    })
    expect(`${stdout}${stderr}`).toContain('SUCCESS')
    expect(status).toBe(0)
    // Each alert has a test.
    const text = readFileSync(path, 'utf8')
    expect(alertConditions.filter(({ by }) => !text.includes(`alertname: ${by}\n`))).toEqual([])
  })

  it('have a page that says what to do', () => {
    const page = read('docs/runbooks.md')
    for (const { by } of alertConditions) expect(page).toContain(`\n## ${by}\n`)
  })
})

function hasNumber({ value }: Sample): boolean {
  return !Number.isNaN(Number(value[1]))
}

/** Producers, a group, a queue, readers; switches in the middle. @returns once the producers are done: the way to stop the others */
async function load(urls: readonly string[]): Promise<() => Promise<void>> {
  const client = await connect(urls)
  const admin = client.admin()
  await admin.createTopic({ topic: 'busy', partitions: 4 })
  await admin.createTopic({ topic: 'keyed', config: { 'cleanup.policy': 'compact' } })
  const until = Date.now() + 25_000
  const goesOn = (): boolean => Date.now() < until
  const producers = urls.map(async url => {
    const own = await connect(url)
    const producer = own.producer()
    for (let n = 0; goesOn(); n++) {
      producer.enqueue('busy', { key: `k${n % 50}`, value: 'x'.repeat(200) })
      producer.enqueue('keyed', { key: `k${n % 5}`, value: String(n) })
      if (n % 20 === 0) await sleep(20)
    }
    await producer.close()
    await own.close()
  })
  const group = client.consumer({
    groupId: 'group',
    topics: 'busy',
    autoOffsetReset: 'earliest',
    autoCommitIntervalMs: 200,
  })
  const consuming = group.run(() => {})
  const queue = client.queue({ group: 'queue', topics: 'busy', autoOffsetReset: 'earliest' })
  const queueing = queue.run(async record => {
    if (record.offset % 50 === 0 && record.deliveryCount === 1) throw new Error('once more')
  })
  const reader = client.read('keyed', { from: 'beginning' })
  const reading = (async () => {
    for await (const _ of reader) if (!goesOn()) return
  })()
  // A reader that waits for records ends with its client, and with an error: it must be heard from now on, not only once the client is closed.
  const ended = Promise.allSettled([consuming, queueing, reading])
  await sleep(6000)
  await admin.switchLog('striped:2,servers=shared:native')
  await sleep(6000)
  await admin.switchLog('native')
  await Promise.all(producers)
  return async () => {
    await Promise.all([group.close(), queue.close()])
    await client.close()
    await ended
  }
}

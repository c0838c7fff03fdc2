// Row 20: a broker with a heap of 512 MB is attacked over raw sockets, attack after attack, while another client works. Every attack has to end as it
// should, the process has to live, its memory to come back, and the other client to be served all the time.
// Usage: node dist/test/reliability/hostile-frames.js [--short] [--seconds N] [--json]

import { join } from 'node:path'
import { memoryOf } from '../acceptance/bounded.ts'
import {
  type BrokerProcess,
  startBrokerProcess,
  withDirectory,
} from '../acceptance/broker-process.ts'
import { type Attack, attacks } from './attacks.ts'
import { startBystander } from './bystander.ts'
import { type Suite, suiteMain, type SuiteResult } from './suite.ts'

const rssGrowthMiBMax = 64
/** Whatever it was before: as much as the heap may have. */
const rssMiBMax = 512
/** Of a ping, which waits for nothing but its turn; more is said, and no failure: other work on the machine counts too. */
const pingMsMax = 50
const name = 'hostile-frames'

export const run: Suite = ({ form, seconds = form === 'short' ? 0 : 120 }) =>
  withDirectory(async directory => {
    const broker = await startBrokerProcess({
      data: join(directory, 'data'),
      env: { NODE_OPTIONS: '--max-old-space-size=512' },
    })
    try {
      return await attack(broker, form, seconds)
    } finally {
      if (broker.child.exitCode === null) await broker.kill('SIGKILL')
    }
  })

async function attack(broker: BrokerProcess, form: string, seconds: number): Promise<SuiteResult> {
  const started = performance.now()
  const port = Number(new URL(broker.url).port)
  const atStart = await memoryOf(broker.pid)
  const bystander = await startBystander(broker.url)
  let peakMb = 0
  // The first round warms up: code that is compiled and caches that fill are no leak.
  const failed = new Map<string, number>()
  let done = 0
  const round = async (list: readonly Attack[]): Promise<void> => {
    for (const each of list) {
      const isFine = await each.run(port).catch(() => false)
      peakMb = Math.max(peakMb, (await memoryOf(broker.pid).catch(() => atStart)).rssMb)
      done++
      if (!isFine) failed.set(each.name, (failed.get(each.name) ?? 0) + 1)
      if (broker.child.exitCode !== null)
        throw new Error(`the broker died in: ${each.name}\n${broker.stderr()}`)
    }
  }
  await round(attacks)
  const before = await memoryOf(broker.pid)
  let rounds = 1
  do {
    await round(attacks)
    rounds++
  } while (performance.now() - started < seconds * 1000)
  const after = await settled(broker.pid, before.rssMb + rssGrowthMiBMax)
  const { ping, produce, refused } = await bystander.stop()
  const exitCode = await broker.kill('SIGTERM')
  const rssGrowthMiB = Math.round(after - before.rssMb)
  const notes = [
    ...[...failed].map(([attackName, times]) => `${attackName}: ${times} times not as it should`),
    ...(rssGrowthMiB > rssGrowthMiBMax ? [`memory grew by ${rssGrowthMiB} MiB`] : []),
    ...(peakMb > rssMiBMax ? [`memory rose to ${Math.round(peakMb)} MiB`] : []),
    ...(refused > 0 ? [`${refused} requests of the other client failed`] : []),
    ...(exitCode === 0 ? [] : [`the broker ended with ${exitCode}`]),
  ]
  const said = [
    ...notes,
    ...(ping.maxMs > pingMsMax ? [`a ping of the other client took ${ping.maxMs} ms`] : []),
  ]
  return {
    row: 20,
    name,
    command: `node dist/test/reliability/${name}.js${form === 'short' ? ' --short' : ''}`,
    seconds: Math.round((performance.now() - started) / 1000),
    counts: {
      attacks: attacks.length,
      rounds,
      attempted: done,
      failed: [...failed.values()].reduce((sum, times) => sum + times, 0),
      othersPings: ping.requests,
      othersProduces: produce.requests,
      othersRefused: refused,
    },
    figures: {
      rssGrowthMiB,
      rssAtStartMiB: Math.round(atStart.rssMb),
      rssPeakMiB: Math.round(peakMb),
      rssMiB: Math.round(after),
      pingP50Ms: ping.p50Ms,
      pingP99Ms: ping.p99Ms,
      pingMaxMs: ping.maxMs,
      produceP99Ms: produce.p99Ms,
      produceMaxMs: produce.maxMs,
    },
    passed: notes.length === 0,
    ...(said.length === 0 ? {} : { notes: said.join('; ') }),
  }
}

/** Memory goes back when the collector comes round; nothing makes it come. */
async function settled(pid: number, goodMb: number): Promise<number> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const { rssMb } = await memoryOf(pid)
    if (rssMb <= goodMb || Date.now() > deadline) return rssMb
    await new Promise(resolve => setTimeout(resolve, 200))
  }
}

await suiteMain(import.meta.url, run)

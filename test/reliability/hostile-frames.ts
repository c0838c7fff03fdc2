// Row 20: a broker with a heap of 512 MB is attacked over raw sockets, attack after attack, while another client works. Every attack has to end as it
// should, the process has to live, its memory to stay, and the other client to be served all the time.
//
// Memory is measured against the same process after ordinary traffic (warm-up.ts), as an operator sees it: a process that has served nothing yet
// grows by its caches, compiled code and the young part of its heap under any traffic, friendly or not. What it grew by from the cold start is
// told beside it. In the long form the peak counts; in the short form what is left in the end, for when the collector comes is not CI's business.
//
// A ping of the other client is judged without what that client's own timer was late by meanwhile (bystander.ts): on two cores it waits for the
// attackers too, who are no part of the broker. The raw figures stand beside it, with the broker's own delay of its event loop.
// Usage: node dist/test/reliability/hostile-frames.js [--short] [--seconds N] [--json] [--each]     --each  tells on stderr what each attack cost

import { join } from 'node:path'
import { memoryOf } from '../acceptance/bounded.ts'
import {
  type BrokerProcess,
  startBrokerProcess,
  withDirectory,
} from '../acceptance/broker-process.ts'
import { attacks } from './attacks.ts'
import { type Ping, startBystander } from './bystander.ts'
import { type Suite, suiteMain, type SuiteResult } from './suite.ts'
import { warmUp } from './warm-up.ts'

const rssGrowthMiBMax = 64
/** Whatever it was before: as much as the heap may have. */
const rssMiBMax = 512
/** Of a ping (corrected), which waits for nothing but its turn. In the short form it is said, and no failure: other work on the machine counts too. */
const pingMsMax = 50
/** Between two looks at the memory. */
const sampleMs = 20
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

interface Cost {
  /** Times that it did not end as it should. */
  failed: number
  /** By which memory rose at most while it went on. */
  riseMiB: number
  /** Delay of the broker's event loop at most; only with `--each`. */
  loopMs: number
}

async function attack(broker: BrokerProcess, form: string, seconds: number): Promise<SuiteResult> {
  const started = performance.now()
  const port = Number(new URL(broker.url).port)
  const rss = (): Promise<number> =>
    memoryOf(broker.pid).then(
      ({ rssMb }) => rssMb,
      () => 0,
    )
  const atStart = await rss()
  await warmUp(broker.url)
  const before = await rss()
  const bystander = await startBystander(broker.url, broker.pid)
  const isEach = process.argv.includes('--each')
  await loopDelayMs(port)
  let peak = before
  let peakNow = before
  const sampler = setInterval(() => {
    void rss().then(now => {
      peakNow = Math.max(peakNow, now)
    })
  }, sampleMs)
  const costs = new Map<string, Cost>(
    attacks.map(each => [each.name, { failed: 0, riseMiB: 0, loopMs: 0 }]),
  )
  let rounds = 0
  do {
    for (const each of attacks) {
      const cost = costs.get(each.name) as Cost
      const from = await rss()
      peakNow = from
      bystander.name(each.name)
      if (!(await each.run(port).catch(() => false))) cost.failed++
      peakNow = Math.max(peakNow, await rss())
      cost.riseMiB = Math.max(cost.riseMiB, peakNow - from)
      peak = Math.max(peak, peakNow)
      if (isEach) cost.loopMs = Math.max(cost.loopMs, await loopDelayMs(port))
      if (broker.child.exitCode !== null || broker.child.signalCode !== null)
        throw new Error(`the broker died in: ${each.name}\n${broker.stderr()}`)
    }
    rounds++
  } while (rounds < 2 || performance.now() - started < seconds * 1000)
  clearInterval(sampler)
  const after = await rss()
  const loopMs = Math.max(await loopDelayMs(port), ...[...costs.values()].map(each => each.loopMs))
  const report = await bystander.stop()
  const { ping, pingCorrected, produce, refused } = report
  const exitCode = await broker.kill('SIGTERM')
  if (isEach) tell(costs, report.longest)
  const rssGrowthMiB = Math.round(peak - before)
  const judgedMiB = form === 'short' ? Math.round(after - before) : rssGrowthMiB
  const failed = [...costs].filter(([, cost]) => cost.failed > 0)
  const isSlow = pingCorrected.maxMs > pingMsMax
  const failures = [
    ...failed.map(([attackName, cost]) => `${attackName}: ${cost.failed} times not as it should`),
    ...(judgedMiB > rssGrowthMiBMax ? [`memory grew by ${judgedMiB} MiB`] : []),
    ...(peak > rssMiBMax ? [`memory rose to ${Math.round(peak)} MiB`] : []),
    ...(refused > 0 ? [`${refused} requests of the other client failed`] : []),
    ...(exitCode === 0 ? [] : [`the broker ended with ${exitCode}`]),
  ]
  const said = [
    ...failures,
    ...(isSlow ? [`a ping of the other client took ${pingCorrected.maxMs} ms`] : []),
  ]
  return {
    row: 20,
    name,
    command: `node dist/test/reliability/${name}.js${form === 'short' ? ' --short' : ''}`,
    seconds: Math.round((performance.now() - started) / 1000),
    counts: {
      attacks: attacks.length,
      rounds,
      attempted: rounds * attacks.length,
      failed: failed.reduce((sum, [, cost]) => sum + cost.failed, 0),
      othersPings: ping.requests,
      othersProduces: produce.requests,
      othersRefused: refused,
    },
    figures: {
      rssGrowthMiB,
      rssGrowthFromColdMiB: Math.round(peak - atStart),
      rssColdMiB: Math.round(atStart),
      rssBeforeMiB: Math.round(before),
      rssPeakMiB: Math.round(peak),
      rssAfterMiB: Math.round(after),
      pingP50Ms: ping.p50Ms,
      pingP99Ms: ping.p99Ms,
      pingMaxMs: ping.maxMs,
      pingCorrectedP99Ms: pingCorrected.p99Ms,
      pingCorrectedMaxMs: pingCorrected.maxMs,
      brokerLoopDelayMaxMs: loopMs,
      othersTimerLateMaxMs: report.timerLateMaxMs,
      produceP99Ms: produce.p99Ms,
      produceMaxMs: produce.maxMs,
    },
    passed: failures.length === 0 && (form === 'short' || !isSlow),
    ...(said.length === 0 ? {} : { notes: said.join('; ') }),
  }
}

/** How late the broker's event loop was at most since the last time that it was asked: the metric begins anew then. */
async function loopDelayMs(port: number): Promise<number> {
  const metrics = await (await fetch(`http://localhost:${port}/metrics`)).text()
  const seconds = /^nodejs_eventloop_lag_max_seconds (\S+)$/m.exec(metrics)?.[1]
  // It counts from tick to tick of its timer.
  return Number(Math.max(0, Number(seconds) * 1000 - loopTickMs).toFixed(2))
}

const loopTickMs = 10

function tell(costs: ReadonlyMap<string, Cost>, pings: Readonly<Record<string, Ping>>): void {
  const none: Ping = { rawMs: 0, ownLateMs: 0, correctedMs: 0, brokerHeldMs: 0 }
  const worst = [...costs]
    .map(([attackName, cost]) => ({ attackName, cost, ping: pings[attackName] ?? none }))
    .toSorted((a, b) => b.ping.correctedMs - a.ping.correctedMs)
  for (const { attackName, cost, ping } of worst) {
    const { rawMs, ownLateMs, correctedMs, brokerHeldMs } = ping
    const words = [
      `ping ${correctedMs.toFixed(1)} ms (raw ${rawMs.toFixed(1)}, own timer ${ownLateMs.toFixed(1)}`,
      ` late, broker without a core ${brokerHeldMs.toFixed(1)}), its event loop ${cost.loopMs} ms,`,
      ` memory +${cost.riseMiB.toFixed(0)} MiB, failed ${cost.failed}: ${attackName}\n`,
    ]
    process.stderr.write(words.join(''))
  }
}

await suiteMain(import.meta.url, run)

// Row 18, the other half: one principal with 100 connections wants all that the broker can do, another sends a little. What the little one gets
// is measured first without the greedy one.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from '../../client/index.ts'
import { encodeBatch, LogloomError, openSocket, RequestChannel } from '../../wire/index.ts'
import { startBrokerProcess, withDirectory } from '../acceptance/broker-process.ts'
import { latencyOf } from '../acceptance/measure.ts'
import { slowDisk, slowLog } from './slow-disk.ts'
import { type Suite, suiteMain } from './suite.ts'

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
const greedyConnections = 100
const greedyInFlight = 8
const modestEveryMs = 20
const batch = encodeBatch([{ value: 'x'.repeat(4000) }], { now: Date.now() })

export const run: Suite = ({ form, seconds = form === 'short' ? 3 : 60 }) =>
  withDirectory(async directory => {
    const begun = performance.now()
    const data = join(directory, 'data')
    const broker = await startBrokerProcess({
      data,
      wrapper: slowDisk,
      args: ['--authentication=required', ...slowLog],
    })
    const token = readFileSync(join(data, 'admin.token'), 'utf8').trim()
    const client = await connect(broker.url, { token })
    const admin = client.admin()
    const signIn = async (name: string, count: number): Promise<readonly RequestChannel[]> => {
      const key = await admin.createToken({ principal: `User:${name}` })
      await admin.createTopic({ topic: name })
      await admin.createAcls([
        { principal: `User:${name}`, resource: 'topic', name, operation: 'write' },
      ])
      const channels: RequestChannel[] = []
      for (let i = 0; i < count; i++) {
        const channel = new RequestChannel(await openSocket(broker.url))
        await channel.request('hello', { protocol: 1, client: name, auth: { token: key.token } })
        channels.push(channel)
      }
      return channels
    }
    const [modest] = await signIn('modest', 1)
    const greedy = await signIn('greedy', greedyConnections)
    /** Sends at an even pace, whatever becomes of it. */
    const little = async (): Promise<{ latencies: number[]; refused: number }> => {
      const latencies: number[] = []
      let refused = 0
      const underWay: Promise<void>[] = []
      for (const until = performance.now() + seconds * 1000; performance.now() < until; ) {
        const sent = performance.now()
        underWay.push(
          (modest as RequestChannel)
            .request('produce', { topic: 'modest', partition: 0, batch })
            .then(
              () => void latencies.push(performance.now() - sent),
              () => void refused++,
            ),
        )
        await sleep(modestEveryMs)
      }
      await Promise.all(underWay)
      return { latencies, refused }
    }
    await little()
    const alone = await little()
    let acked = 0
    let refused = 0
    const over = new AbortController()
    const greed = Promise.all(
      greedy.flatMap(channel =>
        Array.from({ length: greedyInFlight }, async () => {
          while (!over.signal.aborted)
            try {
              await channel.request('produce', { topic: 'greedy', partition: 0, batch })
              acked++
            } catch (error) {
              if (!(error instanceof LogloomError) || error.code !== 'THROTTLED') return
              refused++
              // Not as long as it should.
              await sleep(50)
            }
        }),
      ),
    )
    // Until it has all that there is.
    await sleep(2000)
    const beside = await little()
    over.abort()
    await greed
    for (const channel of [...greedy, modest]) channel?.close()
    await client.close()
    const exit = await broker.kill('SIGTERM')
    const usual = latencyOf(alone.latencies)
    const crowded = latencyOf(beside.latencies)
    const sent = beside.latencies.length + beside.refused
    const counts = {
      modestSent: sent,
      modestAcked: beside.latencies.length,
      modestRefused: beside.refused,
      greedyAcked: acked,
      greedyRefused: refused,
    }
    const figures = {
      modestShare: Number((beside.latencies.length / sent).toFixed(3)),
      modestAloneP50Ms: usual.p50Ms,
      modestAloneP99Ms: usual.p99Ms,
      modestP50Ms: crowded.p50Ms,
      modestP99Ms: crowded.p99Ms,
    }
    const wrong = [
      refused === 0 && 'the greedy one was never refused: that was no overload',
      figures.modestShare < (form === 'short' ? 0.9 : 0.99) &&
        `${beside.refused} of ${sent} of the modest one were refused`,
      exit !== 0 && `exit code ${exit}`,
    ].filter(Boolean)
    return {
      row: 18,
      name: 'fairness',
      command: `node dist/test/reliability/fairness.js${form === 'short' ? ' --short' : ''} --seconds ${seconds}`,
      seconds: Math.round((performance.now() - begun) / 1000),
      counts,
      figures,
      passed: wrong.length === 0,
      ...(wrong.length === 0 ? {} : { notes: wrong.join('; ') }),
    }
  })

await suiteMain(import.meta.url, run)

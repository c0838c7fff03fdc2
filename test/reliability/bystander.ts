// Somebody who means well: produces and pings, one request after the other, in a process of its own, so that the attackers' work does not count.
// Usage: node bystander.js URL; each line of its stdin names what begins now; ends when its stdin does and prints what it measured.

import { spawn } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { encodeBatch } from '../../wire/index.ts'
import { type Latency, latencyOf, openChannel } from '../acceptance/measure.ts'

export interface BystanderReport {
  readonly ping: Latency
  readonly produce: Latency
  /** Requests that failed. */
  readonly refused: number
  /** How late its own timers were: what the machine and the bystander itself take, whatever the broker does. */
  readonly timerLateMaxMs: number
  /** The longest ping that was under way during each of what was named. */
  readonly pingMaxMs: Readonly<Record<string, number>>
}

export interface Bystander {
  /** Something else begins now. */
  name(what: string): void
  stop(): Promise<BystanderReport>
}

/** Compiled: also when a test runner loads this as TypeScript. */
const program = fileURLToPath(import.meta.url).replace(
  /\/test\/reliability\/bystander\.ts$/,
  '/dist/test/reliability/bystander.js',
)

/** Resolves once it has been served for the first time. */
export async function startBystander(url: string): Promise<Bystander> {
  const child = spawn(process.execPath, [program, url], { stdio: ['pipe', 'pipe', 'inherit'] })
  let stdout = ''
  const began = new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      if (stdout.includes('\n')) resolve()
    })
    child.once('close', () => reject(new Error('the bystander ended early')))
  })
  const ended = new Promise<void>(resolve => child.once('close', () => resolve()))
  await began
  return {
    name: what => void child.stdin.write(`${what}\n`),
    stop: async () => {
      child.stdin.end()
      await ended
      return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as BystanderReport
    },
  }
}

async function work(url: string): Promise<BystanderReport> {
  const stop = new AbortController()
  let now = 'before'
  process.stdin.setEncoding('utf8').on('data', text => {
    now = String(text).trimEnd().split('\n').at(-1) ?? now
  })
  process.stdin.on('end', () => stop.abort())
  const channel = await openChannel(url)
  await channel.request('createTopic', { topic: 'bystander' })
  process.stdout.write('served\n')
  const batch = encodeBatch([{ key: 'k', value: 'v' }], { now: 1 })
  const pings: number[] = []
  const produces: number[] = []
  const longest = new Map<string, number>()
  let refused = 0
  let timerLateMaxMs = 0
  for (let i = 0; !stop.signal.aborted && refused < 1000; i++) {
    const isPing = i % 4 !== 0
    const [before, began] = [performance.now(), now]
    try {
      if (isPing) await channel.request('ping')
      else await channel.request('produce', { topic: 'bystander', partition: 0, batch })
      const ms = performance.now() - before
      ;(isPing ? pings : produces).push(ms)
      if (isPing)
        for (const what of [began, now]) longest.set(what, Math.max(ms, longest.get(what) ?? 0))
    } catch {
      refused++
    }
    const asleep = performance.now()
    await new Promise(resolve => setTimeout(resolve, 2))
    timerLateMaxMs = Math.max(timerLateMaxMs, performance.now() - asleep - 2)
  }
  channel.close()
  return {
    ping: latencyOf(pings),
    produce: latencyOf(produces),
    refused,
    timerLateMaxMs: Number(timerLateMaxMs.toFixed(2)),
    pingMaxMs: Object.fromEntries(longest),
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const report = await work(process.argv[2] ?? '')
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit())
}

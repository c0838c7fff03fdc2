// Somebody who means well: produces and pings, one request after the other, in a process of its own, so that the attackers' work does not count.
// Usage: node bystander.js URL; ends when its stdin does and prints what it measured.

import { spawn } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { encodeBatch } from '../../wire/index.ts'
import { type Latency, latencyOf, openChannel } from '../acceptance/measure.ts'

export interface BystanderReport {
  readonly ping: Latency
  readonly produce: Latency
  /** Requests that failed. */
  readonly refused: number
}

export interface Bystander {
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
    stop: async () => {
      child.stdin.end()
      await ended
      return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as BystanderReport
    },
  }
}

async function work(url: string): Promise<BystanderReport> {
  const stop = new AbortController()
  process.stdin.on('end', () => stop.abort()).resume()
  const channel = await openChannel(url)
  await channel.request('createTopic', { topic: 'bystander' })
  process.stdout.write('served\n')
  const batch = encodeBatch([{ key: 'k', value: 'v' }], { now: 1 })
  const pings: number[] = []
  const produces: number[] = []
  let refused = 0
  for (let i = 0; !stop.signal.aborted && refused < 1000; i++) {
    const isPing = i % 4 !== 0
    const before = performance.now()
    try {
      if (isPing) await channel.request('ping')
      else await channel.request('produce', { topic: 'bystander', partition: 0, batch })
      ;(isPing ? pings : produces).push(performance.now() - before)
    } catch {
      refused++
    }
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  channel.close()
  return { ping: latencyOf(pings), produce: latencyOf(produces), refused }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const report = await work(process.argv[2] ?? '')
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit())
}

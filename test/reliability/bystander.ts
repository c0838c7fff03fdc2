// Somebody who means well: produces and pings, one request after the other, in a process of its own, so that the attackers' work does not count.
//
// On a machine that has fewer cores than there are processes at work, a ping also waits for the bystander itself to be run. So it keeps a timer
// of its own, which waits for the machine alone: by how late that was while a ping was under way is told beside the ping, and taken off it.
// How long the broker waited for a core meanwhile (schedstat, Linux) is only told: its work is what others wait for, whatever held it up.
// Usage: node bystander.js URL PID; each line of its stdin names what begins now; ends when its stdin does and prints what it measured.

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { encodeBatch } from '../../wire/index.ts'
import { type Latency, latencyOf, openChannel } from '../acceptance/measure.ts'

export interface BystanderReport {
  readonly ping: Latency
  /** Pings without the bystander's own lateness during each, which is not negative. */
  readonly pingCorrected: Latency
  readonly produce: Latency
  /** Requests that failed. */
  readonly refused: number
  /** How late its own timers were: what the machine and the bystander itself take, whatever the broker does. */
  readonly timerLateMaxMs: number
  /** The ping that is longest when corrected, under way during each of what was named. */
  readonly longest: Readonly<Record<string, Ping>>
}

/** One ping, ms. */
export interface Ping {
  readonly rawMs: number
  /** By how much a timer of the bystander itself was late meanwhile. */
  readonly ownLateMs: number
  readonly correctedMs: number
  /** That the broker's main thread was ready to run and had no core; 0 where the system does not tell. */
  readonly brokerHeldMs: number
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
export async function startBystander(url: string, pid: number): Promise<Bystander> {
  const child = spawn(process.execPath, [program, url, String(pid)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
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

/** A timer that is always under way, and how late it was. */
class OwnTimer {
  lateMaxMs = 0
  private dueAt = 0
  private beganAt = 0
  private lateSinceMs = 0
  private timer: NodeJS.Timeout | undefined

  constructor() {
    this.next()
  }

  /** From here on. */
  begin(): void {
    this.beganAt = performance.now()
    this.lateSinceMs = 0
  }

  /** The longest time since `begin` that it was late for, one that is late right now included. */
  end(): number {
    return Math.max(this.lateSinceMs, performance.now() - Math.max(this.dueAt, this.beganAt), 0)
  }

  stop(): void {
    clearTimeout(this.timer)
  }

  private next(): void {
    this.dueAt = performance.now() + ownTimerMs
    this.timer = setTimeout(() => {
      this.lateSinceMs = this.end()
      this.lateMaxMs = Math.max(this.lateMaxMs, performance.now() - this.dueAt)
      this.next()
    }, ownTimerMs)
  }
}

const ownTimerMs = 1

/** Since the thread began, ms. */
function heldMsOf(pid: number): number {
  try {
    const [, waited] = readFileSync(`/proc/${pid}/task/${pid}/schedstat`, 'utf8').split(' ')
    return Number(waited) / 1e6
  } catch {
    return 0
  }
}

async function work(url: string, pid: number): Promise<BystanderReport> {
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
  const pings: Ping[] = []
  const produces: number[] = []
  const longest = new Map<string, Ping>()
  const timer = new OwnTimer()
  let refused = 0
  for (let i = 0; !stop.signal.aborted && refused < 1000; i++) {
    const isPing = i % 4 !== 0
    const [began, heldMs] = [now, isPing ? heldMsOf(pid) : 0]
    timer.begin()
    const before = performance.now()
    try {
      if (isPing) await channel.request('ping')
      else await channel.request('produce', { topic: 'bystander', partition: 0, batch })
      const rawMs = performance.now() - before
      if (!isPing) produces.push(rawMs)
      else {
        const ownLateMs = Math.min(rawMs, timer.end())
        const correctedMs = rawMs - ownLateMs
        const ping = { rawMs, ownLateMs, correctedMs, brokerHeldMs: heldMsOf(pid) - heldMs }
        pings.push(ping)
        for (const what of [began, now])
          if (correctedMs >= (longest.get(what)?.correctedMs ?? 0)) longest.set(what, ping)
      }
    } catch {
      refused++
    }
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  timer.stop()
  channel.close()
  return {
    ping: latencyOf(pings.map(({ rawMs }) => rawMs)),
    pingCorrected: latencyOf(pings.map(({ correctedMs }) => correctedMs)),
    produce: latencyOf(produces),
    refused,
    timerLateMaxMs: Number(timer.lateMaxMs.toFixed(2)),
    longest: Object.fromEntries(longest),
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const report = await work(process.argv[2] ?? '', Number(process.argv[3]))
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit())
}

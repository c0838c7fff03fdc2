// The main job on real records: flights produced through the command line while the log is switched again and again; then everything is
// read back and checked. Prints what it counted; exit code 1 on any violation. Usage: node real-input.js [REPEATS=50] [SWITCHES=25]

import { spawn } from 'node:child_process'
import { fdatasyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pathToFileURL } from 'node:url'
import {
  cliPath,
  flightsPath,
  runCli,
  startBrokerProcess,
  withDirectory,
} from './broker-process.ts'

export interface RealInputReport {
  readonly produced: number
  readonly consumed: number
  readonly lost: number
  readonly duplicate: number
  readonly outOfOrder: number
  readonly switches: number
  /** Switches that ended while the producer was still running. */
  readonly switchesWhileProducing: number
  readonly pausesMs: readonly number[]
  readonly medianPauseMs: number
  readonly fsyncMedianMs: number
  readonly produceSeconds: number
  readonly exitCodes: Readonly<Record<string, number | string>>
  readonly errors: readonly string[]
}

const specs = ['file', 'striped:4:file', 'memory', 'striped:2:file']

/** Runs the whole thing. The producer is paced so that at least `switches` switches happen while it runs. */
export function realInput(repeats: number, switches: number): Promise<RealInputReport> {
  return withDirectory(async directory => {
    const broker = await startBrokerProcess({ data: join(directory, 'data') })
    const url = ['--url', broker.url]
    const created = await runCli(['topic', 'create', 'flights', '--partitions', '4', ...url])
    const fsyncMedianMs = measureFsync(join(directory, 'fsync'))
    const lines = readFileSync(flightsPath, 'utf8').trimEnd().split('\n')
    const progress = { switches: 0, done: false }
    const started = performance.now()
    const producing = runCli(
      ['produce', 'flights', '--key-field', 'origin', ...url],
      numbered(lines, repeats, switches, progress),
    ).finally(() => {
      progress.done = true
    })
    const pausesMs: number[] = []
    const errors: string[] = []
    let switchesWhileProducing = 0
    while (!progress.done || progress.switches < switches) {
      const spec = specs[progress.switches % specs.length] as string
      const { code, stdout, stderr } = await runCli([
        'log',
        'switch',
        spec,
        '--format',
        'json',
        ...url,
      ])
      if (code === 0) pausesMs.push((JSON.parse(stdout) as { pauseMs: number }).pauseMs)
      else errors.push(`switch ${spec}: exit ${code}: ${stderr}`)
      progress.switches++
      if (!progress.done) switchesWhileProducing++
      if (errors.length > 3) break
    }
    const produced = await producing
    const produceSeconds = (performance.now() - started) / 1000
    const check = await consumeAndCheck(broker.url, lines.length * repeats)
    const stopped = await broker.kill('SIGTERM')
    if (/error|retr(y|ies): [1-9]/i.test(produced.stderr)) errors.push(produced.stderr.trim())
    return {
      produced: lines.length * repeats,
      ...check,
      switches: progress.switches,
      switchesWhileProducing,
      pausesMs,
      medianPauseMs: median(pausesMs),
      fsyncMedianMs,
      produceSeconds,
      exitCodes: {
        create: created.code,
        produce: produced.code,
        consume: check.exitCode,
        broker: stopped,
      },
      errors: [...errors, ...check.errors],
    }
  })
}

/** The lines again and again, each with a running `seq`; slowed down while the switches cannot keep up. */
async function* numbered(
  lines: readonly string[],
  repeats: number,
  switches: number,
  progress: { readonly switches: number },
): AsyncGenerator<string> {
  const total = lines.length * repeats
  let seq = 0
  while (seq < total) {
    let text = ''
    // Slower, never stopped, while the switches are behind: each is to meet requests in flight.
    const isAhead = progress.switches < switches && progress.switches / switches < seq / total
    const chunk = isAhead ? 20 : 1000
    for (const end = Math.min(total, seq + chunk); seq < end; seq++) {
      const line = lines[seq % lines.length] as string
      text += `${line.slice(0, -1)},"seq":${seq}}\n`
    }
    yield text
    if (isAhead) await new Promise(resolve => setTimeout(resolve, 20))
  }
}

async function consumeAndCheck(
  url: string,
  total: number,
): Promise<{
  consumed: number
  lost: number
  duplicate: number
  outOfOrder: number
  exitCode: number | string
  errors: string[]
}> {
  const child = spawn(
    process.execPath,
    [cliPath, 'consume', 'flights', '-o', 'beginning', '-e', '--format', 'json', '--url', url],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let stderr = ''
  child.stderr.on('data', chunk => {
    stderr += String(chunk)
  })
  const exited = new Promise<number | string>(resolve => {
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'))
  })
  const seen = new Uint8Array(total)
  const lastOfKey = new Map<string, number>()
  let consumed = 0
  let duplicate = 0
  let outOfOrder = 0
  for await (const line of createInterface({ input: child.stdout })) {
    const record = JSON.parse(line) as { key: string; value: string }
    const { seq, origin } = JSON.parse(record.value) as { seq: number; origin: string }
    consumed++
    if (seen[seq] !== 0) duplicate++
    seen[seq] = 1
    if (record.key !== origin || seq <= (lastOfKey.get(record.key) ?? -1)) outOfOrder++
    lastOfKey.set(record.key, seq)
  }
  const exitCode = await exited
  const errors = stderr.trim() === '' ? [] : [stderr.trim()]
  return {
    consumed,
    lost: seen.filter(s => s === 0).length,
    duplicate,
    outOfOrder,
    exitCode,
    errors,
  }
}

/** Median of write + fdatasync of 64 KiB on the same disk, ms. */
function measureFsync(path: string): number {
  const fd = openSync(path, 'w')
  const bytes = Buffer.alloc(65536, 1)
  const times = Array.from({ length: 200 }, () => {
    writeSync(fd, bytes)
    const start = performance.now()
    fdatasyncSync(fd)
    return performance.now() - start
  })
  return median(times)
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [repeats = 50, switches = 25] = process.argv.slice(2).map(Number)
  const report = await realInput(repeats, switches)
  console.log(JSON.stringify(report, undefined, 1))
  const clean =
    report.lost + report.duplicate + report.outOfOrder + report.errors.length === 0 &&
    report.consumed === report.produced &&
    Object.values(report.exitCodes).every(code => code === 0)
  process.exitCode = clean ? 0 : 1
}

// The command line as its user runs it: built, in processes of their own, ended by pid.
//
// Guarantees: whatever a test started is gone after it, also when it failed; the environment's own LOGLOOM_ settings do not leak in.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach } from 'vitest'

export const rootDirectory = fileURLToPath(new URL('../../', import.meta.url))
export const cliPath = join(rootDirectory, 'broker/cli/logloom.cjs')

export interface CommandResult {
  /** The exit code, or the signal that ended it. */
  readonly code: number | string
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly input?: string | Uint8Array
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
}

export interface RunningCommand {
  readonly child: ChildProcessWithoutNullStreams
  readonly pid: number
  readonly exited: Promise<CommandResult>
  stdout(): string
  stderr(): string
  /** Resolves once `found` is true of the output so far. @throws with all output when the command ended before */
  until(found: (stdout: string, stderr: string) => boolean): Promise<void>
}

const running = new Set<ChildProcessWithoutNullStreams>()
const directories: string[] = []

afterEach(async () => {
  const left = [...running]
  await Promise.all(
    left.map(child => {
      const ended = new Promise(resolve => child.once('close', resolve))
      child.kill('SIGKILL')
      return ended
    }),
  )
  for (const directory of directories.splice(0)) {
    rmSync(directory, { recursive: true, force: true })
  }
})

/** A fresh directory, removed after the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'logloom-cli-'))
  directories.push(directory)
  return directory
}

/** Starts `logloom` and leaves it running. */
export function start(args: readonly string[], o: CommandOptions = {}): RunningCommand {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('LOGLOOM_')),
  )
  const child = spawn(process.execPath, [cliPath, ...args], {
    cwd: o.cwd ?? tmpdir(),
    env: { ...env, ...o.env },
  })
  running.add(child)
  let stdout = ''
  let stderr = ''
  let isOver = false
  const wakers = new Set<() => void>()
  const wake = (): void => {
    for (const waker of wakers) waker()
  }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    wake()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    wake()
  })
  // The command may end before it has read everything.
  child.stdin.on('error', () => {})
  if (o.input !== undefined) child.stdin.end(o.input)
  const exited = new Promise<CommandResult>(resolve => {
    child.once('close', (code, signal) => {
      running.delete(child)
      isOver = true
      resolve({ code: code ?? signal ?? 'unknown', stdout, stderr })
      wake()
    })
  })
  const until = (found: (stdout: string, stderr: string) => boolean): Promise<void> => {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const isFound = found(stdout, stderr)
        if (!isFound && !isOver) return
        wakers.delete(look)
        if (isFound) resolve()
        else reject(new Error(`${args.join(' ')} ended early\n${stdout}\n${stderr}`))
      }
      wakers.add(look)
      look()
    })
  }
  return {
    child,
    pid: child.pid ?? 0,
    exited,
    stdout: () => stdout,
    stderr: () => stderr,
    until,
  }
}

/** Runs `logloom` to its end; without input stdin is empty. */
export function run(args: readonly string[], o: CommandOptions = {}): Promise<CommandResult> {
  return start(args, { input: '', ...o }).exited
}

export interface BrokerUnderTest extends RunningCommand {
  readonly url: string
  readonly port: number
  readonly data: string
  /** Runs a client command against this broker. */
  run(args: readonly string[], o?: CommandOptions): Promise<CommandResult>
  stop(signal?: NodeJS.Signals): Promise<CommandResult>
}

export interface BrokerOptions extends CommandOptions {
  readonly data?: string
  readonly port?: number
  readonly args?: readonly string[]
}

/** Starts `logloom start` and waits until it is ready. */
export async function startBroker(o: BrokerOptions = {}): Promise<BrokerUnderTest> {
  const data = o.data ?? join(temporaryDirectory(), 'data')
  const port = String(o.port ?? 0)
  const args = ['start', '--data', data, '--port', port, '--format', 'json', ...(o.args ?? [])]
  const command = start(args, { input: '', ...o })
  await command.until(stdout => stdout.includes('\n'))
  const ready = JSON.parse(command.stdout().split('\n')[0] ?? '') as { url: string; data: string }
  const { url } = ready
  return {
    ...command,
    url,
    port: Number(new URL(url).port),
    data,
    run: (args, options) => run([...args, '--url', url], options),
    stop: signal => {
      process.kill(command.pid, signal ?? 'SIGTERM')
      return command.exited
    },
  }
}

/** A port that nobody listens on. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** Non-empty lines. */
export function linesOf(text: string): readonly string[] {
  return text.split('\n').filter(line => line !== '')
}

/** 60 records with keys, for `produce -K :`. */
export const recordsInput = Array.from({ length: 60 }, (_, i) => `k${i}:v${i}\n`).join('')

/** A broker with these records in topic `t`. */
export async function brokerWithRecords(
  partitions: number,
): Promise<Awaited<ReturnType<typeof startBroker>>> {
  const broker = await startBroker()
  await broker.run(['topic', 'create', 't', '--partitions', String(partitions)])
  await broker.run(['produce', 't', '-K', ':'], { input: recordsInput })
  return broker
}

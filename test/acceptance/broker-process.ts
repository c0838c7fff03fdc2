// A broker as its user runs it: the command line in a process of its own, in a directory of its own, ended by pid.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/dist\/$/, '/')
export const cliPath = join(root, 'broker/cli/logloom.cjs')
/** As in the command's first line and in `npm start`. */
const nodeFlags = ['--initial-old-space-size=256']
export const flightsPath = join(root, 'test/fixtures/flights.ndjson')

export interface BrokerProcess {
  readonly url: string
  readonly pid: number
  readonly child: ChildProcess
  /** Everything the process wrote to stderr so far. */
  readonly stderr: () => string
  /** Resolves with the exit code, or the signal's name. */
  readonly exited: Promise<number | string>
  kill(signal: NodeJS.Signals): Promise<number | string>
}

export interface StartOptions {
  readonly data: string
  readonly port?: number
  readonly args?: readonly string[]
  /** Put before `node …`, e.g. `['strace', '-f', …]`. */
  readonly wrapper?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Of another build; default: this one's. */
  readonly cli?: string
}

/** Starts `logloom start` and waits for its ready line. @throws with stderr when it exits before. */
export async function startBrokerProcess(options: StartOptions): Promise<BrokerProcess> {
  const command = [
    ...(options.wrapper ?? []),
    process.execPath,
    ...nodeFlags,
    options.cli ?? cliPath,
    'start',
    '--data',
    options.data,
    '--port',
    String(options.port ?? 0),
    '--format',
    'json',
    ...(options.args ?? []),
  ]
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  })
  let stderr = ''
  child.stderr.on('data', chunk => {
    stderr = (stderr + String(chunk)).slice(-1_000_000)
  })
  const exited = new Promise<number | string>(resolve => {
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'))
  })
  const ready = new Promise<{ url: string; pid: number }>(resolve => {
    createInterface({ input: child.stdout }).on('line', line => {
      if (line.includes('"ready"')) resolve(JSON.parse(line) as { url: string; pid: number })
    })
  })
  const first = await Promise.race([ready, exited.then(code => ({ code }))])
  if ('code' in first)
    throw new Error(`broker exited with ${first.code} before it was ready: ${stderr}`)
  return {
    ...first,
    child,
    stderr: () => stderr,
    exited,
    kill: signal => {
      process.kill(first.pid, signal)
      return exited
    },
  }
}

export interface CommandResult {
  readonly code: number | string
  readonly stdout: string
  readonly stderr: string
}

/** Runs one command of the CLI to its end. */
export async function runCli(
  args: readonly string[],
  input?: AsyncIterable<string>,
): Promise<CommandResult> {
  const child = spawn(process.execPath, [cliPath, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => {
    stdout += String(chunk)
  })
  child.stderr.on('data', chunk => {
    stderr += String(chunk)
  })
  const exited = new Promise<number | string>(resolve => {
    child.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'))
  })
  if (input !== undefined) {
    for await (const chunk of input)
      if (!child.stdin.write(chunk))
        await new Promise(resolve => child.stdin.once('drain', resolve))
  }
  child.stdin.end()
  return { code: await exited, stdout, stderr }
}

/** Runs `work` in a fresh directory that is removed afterwards. */
export async function withDirectory<T>(work: (directory: string) => Promise<T>): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'logloom-'))
  try {
    return await work(directory)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** A port that was free a moment ago: for brokers that must come back at the same address. */
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

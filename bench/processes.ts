// Child processes of a benchmark: started, read line by line, ended by pid. None outlives the benchmark: those that still run when it ends are
// killed, and the Node ones end by themselves when it is gone (emulate/with-parent.ts).

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface BenchProcess {
  readonly child: ChildProcess
  readonly pid: number
  /** The next line of its standard output. @throws when it ends first, with the end of what it said on stderr. */
  line(): Promise<string>
  /** Writes a line to its standard input. */
  tell(line: string): void
  /** Ends it and waits. Idempotent. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

export interface ProcessOptions {
  readonly env?: Readonly<Record<string, string>>
  /** Modules that a Node process loads before its script, by URL. */
  readonly preload?: readonly string[]
}

const running = new Set<ChildProcess>()
process.once('exit', killAll)

/** Kills what still runs: of a scenario that was given up. */
export function killAll(): void {
  for (const child of running) child.kill('SIGKILL')
}

/** All sides of a comparison run with the flags of `npm start`. */
const nodeFlags = ['--initial-old-space-size=256']
const withParent = new URL('emulate/with-parent.js', import.meta.url).href
const stopMs = 5000
const errorBytesMax = 2000

/** The line of an uncaught error, or all of it. */
function reasonIn(said: string): string {
  return /^(?:\w*Error.*)$/m.exec(said)?.[0] ?? said.trim()
}

export const scriptOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** Runs a script with Node. */
export function startProcess(
  script: string,
  args: readonly string[],
  { env = {}, preload = [] }: ProcessOptions = {},
): BenchProcess {
  const imports = [withParent, ...preload].flatMap(url => ['--import', url])
  return startProgram(process.execPath, [...nodeFlags, ...imports, script, ...args], { env })
}

/** Runs any program. */
export function startProgram(
  program: string,
  args: readonly string[],
  { env = {} }: ProcessOptions = {},
): BenchProcess {
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, BENCH_PARENT: String(process.pid), ...env },
  })
  running.add(child)
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-errorBytesMax)
  })
  // What is told to a process that is gone is lost; its end is what matters.
  child.stdin.on('error', () => {})
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  let failure = ''
  let how = 'not started'
  const exited = new Promise<void>(resolve => {
    const over = (): void => {
      running.delete(child)
      resolve()
    }
    child.once('exit', (code, signal) => {
      how = signal ?? `exit code ${code}`
      over()
    })
    child.once('error', error => {
      failure = error.message
      over()
    })
  })
  return {
    child,
    pid: child.pid ?? -1,
    line: async () => {
      const { value, done } = await lines.next()
      if (done !== true) return value
      await exited
      throw new Error(`${args.join(' ').slice(-120)} ended (${how}): ${failure}${reasonIn(said)}`)
    },
    tell: line => {
      child.stdin.write(`${line}\n`)
    },
    stop: async (signal = 'SIGTERM') => {
      if (!running.has(child)) return
      child.kill(signal)
      const killer = setTimeout(() => child.kill('SIGKILL'), stopMs)
      await exited
      clearTimeout(killer)
    },
  }
}

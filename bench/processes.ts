// Child processes of a benchmark: started, read line by line, ended by pid.

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

export interface BenchProcess {
  readonly child: ChildProcess
  /** The next line of its standard output. @throws when it ends first. */
  line(): Promise<string>
  /** Ends it and waits. */
  stop(): Promise<void>
}

/** All sides of a comparison run with the flags of `npm start`. */
const nodeFlags = ['--initial-old-space-size=256']

export function startProcess(script: string, args: readonly string[]): BenchProcess {
  const child = spawn(process.execPath, [...nodeFlags, script, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  return {
    child,
    line: async () => {
      const { value, done } = await lines.next()
      if (done === true) throw new Error(`${script} ended without an answer`)
      return value
    },
    stop: async () => {
      child.kill('SIGTERM')
      const killer = setTimeout(() => child.kill('SIGKILL'), 5000)
      await exited
      clearTimeout(killer)
    },
  }
}

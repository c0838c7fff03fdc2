// What a scenario works with: a directory that goes away, processes that end, and a word to whoever watches.

import { mkdtempSync, readdirSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export interface BenchContext {
  /** A new empty directory on the disk that is measured. */
  directory(name: string): string
  /** Removes what is no longer needed before the scenario ends. */
  remove(directory: string): void
  /** To be undone when the scenario ends, whatever becomes of it; the last one first. */
  defer(undo: () => Promise<void> | void): void
  /** Something got done: for the display of progress. */
  tick(what: string): void
}

const prefix = 'logloom-bench-'
/** statfs' word for tmpfs, where a sync costs nothing. */
const tmpfs = 0x01_02_19_94

/** Where data goes: BENCH_DIR, else the system's temporary directory, else (when that is memory) one below the current directory. */
export function benchRoot(): string {
  const { BENCH_DIR } = process.env
  if (BENCH_DIR !== undefined && BENCH_DIR !== '') return resolve(BENCH_DIR)
  return statfsSync(tmpdir()).type === tmpfs ? resolve('.') : tmpdir()
}

/** The directory of this run. What runs left behind whose process is gone goes first. */
export function makeRunDirectory(): string {
  const root = benchRoot()
  for (const name of readdirSync(root)) {
    const pid = new RegExp(`^${prefix}(\\d+)-`).exec(name)?.[1]
    if (pid !== undefined && !isAlive(Number(pid)))
      rmSync(join(root, name), { recursive: true, force: true })
  }
  return mkdtempSync(join(root, `${prefix}${process.pid}-`))
}

/** Runs `work` with a context, and undoes everything afterwards. */
export async function withContext<T>(
  root: string,
  tick: (what: string) => void,
  work: (context: BenchContext) => Promise<T>,
): Promise<T> {
  const undos: (() => Promise<void> | void)[] = []
  const own = mkdtempSync(join(root, 'scenario-'))
  try {
    return await work({
      directory: name => mkdtempSync(join(own, `${name}-`)),
      remove: directory => rmSync(directory, { recursive: true, force: true }),
      defer: undo => undos.push(undo),
      tick,
    })
  } finally {
    // All of them, also when one fails: none may be left running. The failure that counts is the scenario's.
    for (const undo of undos.reverse()) await Promise.resolve(undo()).catch(() => {})
    rmSync(own, { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * Measures all sides, one after the other, again and again, so that what the machine does meanwhile hits all of them. Each round begins with another
 * side, so that none always comes after the same.
 * @returns of each side what was measured, in order
 */
export async function alternate<S, T>(
  context: BenchContext,
  rounds: number,
  sides: readonly S[],
  measure: (side: S, round: number) => Promise<T>,
): Promise<readonly (readonly T[])[]> {
  const found: T[][] = sides.map(() => [])
  for (let round = 0; round < rounds; round++) {
    for (let n = 0; n < sides.length; n++) {
      const i = (n + round) % sides.length
      found[i]?.push(await measure(sides[i] as S, round))
    }
    context.tick(`round ${round + 1} of ${rounds}`)
  }
  return found
}

export const sleep = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms))

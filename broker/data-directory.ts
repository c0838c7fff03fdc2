// The data directory: `VERSION LOCK cluster.json metastore/ loglets/ state/` (DESIGN 4.4). One broker at a time: the lock names a process
// by pid and start time, so a lock left by kill -9 or a pid used again is seen as stale.

import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync, linkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { LogloomError } from '../wire/errors.ts'

const formatVersion = 1

export interface DataDirectory {
  /** Absolute. */
  readonly path: string
  readonly nodeId: string
  /** Lets another broker in. Idempotent. */
  release(): void
}

/** Makes or opens the directory and locks it. @throws DATA_DIR_UNWRITABLE, DATA_DIR_LOCKED, DATA_DIR_NEWER */
export function openDataDirectory(directory: string): DataDirectory {
  const path = resolve(directory)
  let release: () => void
  try {
    mkdirSync(path, { recursive: true })
    release = lock(path)
  } catch (error) {
    if (error instanceof LogloomError) throw error
    throw new LogloomError('DATA_DIR_UNWRITABLE', `cannot write to ${path}: ${(error as Error).message}`, { path }, { cause: error })
  }
  try {
    checkVersion(path)
    return { path, nodeId: nodeId(path), release }
  } catch (error) {
    release()
    if (error instanceof LogloomError) throw error
    throw new LogloomError('DATA_DIR_UNWRITABLE', `cannot use ${path}: ${(error as Error).message}`, { path }, { cause: error })
  }
}

function checkVersion(path: string): void {
  const file = join(path, 'VERSION')
  const text = readOptional(file)
  if (text === undefined) {
    writeFileSync(file, `${formatVersion}\n`)
    return
  }
  const version = Number(text.trim())
  if (!Number.isInteger(version) || version < 1 || version > formatVersion)
    throw new LogloomError('DATA_DIR_NEWER', `${path} has format ${text.trim()}, this version reads up to ${formatVersion}`, {
      limit: formatVersion,
      actual: text.trim(),
    })
}

function nodeId(path: string): string {
  const file = join(path, 'cluster.json')
  const text = readOptional(file)
  if (text !== undefined) return (JSON.parse(text) as { nodeId: string }).nodeId
  const id = `n-${randomBytes(4).toString('hex')}`
  const temporary = `${file}.${process.pid}`
  writeFileSync(temporary, `${JSON.stringify({ nodeId: id })}\n`)
  renameSync(temporary, file)
  return id
}

/** Takes the lock; a hard link either makes the name or fails, so two starters cannot both win. */
function lock(path: string): () => void {
  const file = join(path, 'LOCK')
  const unique = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`
  const own = `${process.pid} ${startTime(process.pid) ?? 0} ${unique.split('.').at(-1)}\n`
  writeFileSync(unique, own)
  try {
    for (let tries = 0; tries < 10; tries++) {
      try {
        linkSync(unique, file)
        return () => {
          if (readOptional(file) === own) rmSync(file, { force: true })
        }
      } catch (error) {
        if ((error as { code?: string }).code !== 'EEXIST') throw error
      }
      const holder = readOptional(file)
      if (holder === undefined) continue
      const [pid = 0, started = 0] = holder.split(' ').map(Number)
      if (isAlive(pid, started))
        throw new LogloomError('DATA_DIR_LOCKED', `${path} is used by process ${pid}`, { path, pid })
      removeStale(file, unique, holder)
    }
    throw new LogloomError('DATA_DIR_LOCKED', `${path} is being taken by another process`, { path })
  } finally {
    rmSync(unique, { force: true })
  }
}

/** Moves a stale lock away; if somebody replaced it meanwhile, puts theirs back. */
function removeStale(file: string, unique: string, stale: string): void {
  const aside = `${unique}.stale`
  try {
    renameSync(file, aside)
  } catch {
    return
  }
  if (readOptional(aside) !== stale) {
    try {
      linkSync(aside, file)
    } catch {
      // A third starter was faster; it sees who lives.
    }
  }
  rmSync(aside, { force: true })
}

function isAlive(pid: number, started: number): boolean {
  if (pid <= 0) return false
  const now = startTime(pid)
  if (now !== undefined) return now === started
  try {
    process.kill(pid, 0)
    // Where /proc tells no start time, a living pid is believed.
    return startTime(process.pid) === undefined
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM'
  }
}

/** Clock ticks since boot at which the process started; undefined where there is no /proc or no such process. */
function startTime(pid: number): number | undefined {
  const stat = readOptional(`/proc/${pid}/stat`)
  // The second field, the command, may hold anything but ends with the last parenthesis.
  return stat === undefined ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19])
}

function readOptional(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined
    throw error
  }
}

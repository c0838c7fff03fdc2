// The data directory: `VERSION LOCK cluster.json metastore/ loglets/ state/` (DESIGN 4.4). One broker at a time: the lock names a process
// by pid, start time and boot, so a lock left by kill -9 or a pid used again is seen as stale. Processes that see different pids (two
// containers on one volume) cannot judge each other: give each its own directory.

import { randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { LogloomError } from '../wire/errors.ts'
import {
  checkMembership,
  type ClusterFile,
  clusterFileText,
  type Membership,
  newClusterFile,
  noCluster,
  parseClusterFile,
} from './cluster/cluster-file.ts'
import { makeDirectory } from './make-directory.ts'

const formatVersion = 1
const lockTriesMax = 100

export interface DataDirectory {
  /** Absolute. */
  readonly path: string
  readonly nodeId: string
  /** Names this directory among all that a node ever had. */
  readonly store: string
  /** Undefined for a broker without a cluster. */
  readonly clusterId: string | undefined
  /** Lets another broker in. Idempotent. */
  release(): void
}

/**
 * Makes or opens the directory and locks it. `membership` is whose it has to be; `undefined` opens it whoever owns it, to look into it.
 * @throws DATA_DIR_UNWRITABLE, DATA_DIR_LOCKED, DATA_DIR_NEWER, DATA_DIR_FOREIGN
 */
export function openDataDirectory(directory: string, membership?: Membership): DataDirectory {
  const path = makeDirectory(directory)
  let release: () => void
  try {
    release = lock(path)
  } catch (error) {
    if (error instanceof LogloomError) throw error
    throw new LogloomError(
      'DATA_DIR_UNWRITABLE',
      `cannot write to ${path}: ${(error as Error).message}`,
      { path },
      { cause: error },
    )
  }
  try {
    checkVersion(path)
    return { path, ...clusterFile(path, membership), release }
  } catch (error) {
    release()
    if (error instanceof LogloomError) throw error
    throw new LogloomError(
      'DATA_DIR_UNWRITABLE',
      `cannot use ${path}: ${(error as Error).message}`,
      { path },
      { cause: error },
    )
  }
}

function checkVersion(path: string): void {
  const file = join(path, 'VERSION')
  const text = readOptional(file)
  if (text === undefined) {
    writeDurably(path, 'VERSION', `${formatVersion}\n`)
    return
  }
  const version = Number(text.trim())
  if (!Number.isInteger(version) || version < 1 || version > formatVersion)
    throw new LogloomError(
      'DATA_DIR_NEWER',
      `${path} has format ${text.trim()}, this version reads up to ${formatVersion}`,
      {
        limit: formatVersion,
        actual: text.trim(),
      },
    )
}

function clusterFile(path: string, membership: Membership | undefined): ClusterFile {
  const text = readOptional(join(path, 'cluster.json'))
  if (text !== undefined) {
    const found = parseClusterFile(path, text)
    if (membership !== undefined) checkMembership(path, found, membership)
    return found
  }
  const content = ['metastore', 'loglets', 'state'].filter(name => existsSync(join(path, name)))
  if (content.length > 0)
    throw new LogloomError(
      'DATA_DIR_FOREIGN',
      `${path} has ${content.join(', ')} but no cluster.json: nobody can tell to which node it belongs`,
      { path },
      { hint: 'restore cluster.json from a backup' },
    )
  const made = newClusterFile(membership ?? noCluster)
  writeDurably(path, 'cluster.json', clusterFileText(made))
  return made
}

/** A file that is there whole or not at all, even after a power cut. */
function writeDurably(path: string, name: string, text: string): void {
  const temporary = join(path, `${name}.new`)
  writeFileSync(temporary, text, { flush: true })
  renameSync(temporary, join(path, name))
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

/**
 * Takes the lock. `LOCK` names its holder; a holder that is dead is followed by whoever makes `LOCK.after.NONCE` of the dead one's nonce:
 * a hard link, so exactly one starter does. The follower then makes itself `LOCK`. A starter that read the chain before that may still
 * link, but sees that `LOCK` changed and gives way.
 */
function lock(path: string): () => void {
  const file = join(path, 'LOCK')
  const nonce = randomBytes(8).toString('hex')
  const own = `${process.pid} ${startTime(process.pid) ?? 'unknown'} ${nonce}\n`
  const unique = `${file}.${nonce}`
  writeFileSync(unique, own)
  try {
    for (let tries = 0; tries < lockTriesMax; tries++) {
      const first = readOptional(file)
      const chain = deadHolders(path, file, first)
      const place = chain.at(-1) ?? file
      if (!linkIfAbsent(unique, place)) continue
      if (place === file) return release(file, own)
      if (readOptional(file) !== first) {
        rmSync(place, { force: true })
        continue
      }
      // From here the place in the chain is ours, and nobody else's.
      renameSync(unique, file)
      for (const old of chain) rmSync(old, { force: true })
      return release(file, own)
    }
    throw new LogloomError('DATA_DIR_LOCKED', `${path} is being taken by another process`, { path })
  } finally {
    rmSync(unique, { force: true })
  }
}

/** The places after each dead holder, in order; the last one is free. Empty when there is no lock. @throws DATA_DIR_LOCKED */
function deadHolders(path: string, file: string, first: string | undefined): string[] {
  const places: string[] = []
  for (let holder = first; holder !== undefined; holder = readOptional(places.at(-1) as string)) {
    const [pid = '', started = '', nonce = 'none'] = holder.trim().split(' ')
    if (isAlive(Number(pid), started))
      throw new LogloomError('DATA_DIR_LOCKED', `${path} is used by process ${pid}`, {
        path,
        pid: Number(pid),
      })
    places.push(`${file}.after.${nonce.replace(/[^0-9a-z]/g, '')}`)
  }
  return places
}

function linkIfAbsent(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as { code?: string }).code === 'EEXIST') return false
    throw error
  }
}

function release(file: string, own: string): () => void {
  return () => {
    if (readOptional(file) === own) rmSync(file, { force: true })
  }
}

function isAlive(pid: number, started: string): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  const now = startTime(pid)
  if (now !== undefined) return now === started
  // Where /proc tells no start time, a living pid is believed.
  if (startTime(process.pid) !== undefined) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM'
  }
}

/** Clock ticks since boot at which the process started, and which boot; undefined where there is no /proc or no such process. */
function startTime(pid: number): string | undefined {
  const stat = readOptional(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  // The second field, the command, may hold anything but ends with the last parenthesis.
  const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  const boot = readOptional('/proc/sys/kernel/random/boot_id')?.trim() ?? ''
  return `${ticks}@${boot}`
}

function readOptional(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined
    throw error
  }
}

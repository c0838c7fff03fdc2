// The data directory: one broker at a time, whatever happened to the one before.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { openDataDirectory } from '../../broker/data-directory.ts'

const made: string[] = []
const children: ChildProcess[] = []

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  for (const path of made.splice(0)) rmSync(path, { recursive: true, force: true })
})

function newDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'logloom-data-'))
  made.push(path)
  return path
}

const codeOf = (run: () => unknown): unknown => {
  try {
    run()
  } catch (error) {
    return (error as { code?: string }).code
  }
  return 'opened'
}

/** A process that does nothing. */
async function someone(): Promise<ChildProcess & { pid: number }> {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'])
  children.push(child)
  await once(child, 'spawn')
  return child as ChildProcess & { pid: number }
}

function holderOf(path: string): string[] {
  return readFileSync(join(path, 'LOCK'), 'utf8').trim().split(' ')
}

/** The lock as the process `pid` would have written it. */
function writeLock(path: string, pid: number, nonce: string): void {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const ticks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  writeFileSync(join(path, 'LOCK'), `${pid} ${ticks}@${boot} ${nonce}\n`)
}

describe('a data directory', () => {
  it('is made with a version and a name for the node, which stays', () => {
    const path = join(newDirectory(), 'deep', 'down')
    const first = openDataDirectory(path)
    expect(first).toMatchObject({ path, nodeId: expect.stringMatching(/^n-[0-9a-f]{8}$/) })
    expect(readFileSync(join(path, 'VERSION'), 'utf8')).toBe('1\n')
    first.release()
    const second = openDataDirectory(path)
    expect(second.nodeId).toBe(first.nodeId)
    second.release()
    expect(readdirSync(path).sort()).toEqual(['VERSION', 'cluster.json'])
  })

  it('lets nobody else in until it is released', () => {
    const path = newDirectory()
    const first = openDataDirectory(path)
    expect(codeOf(() => openDataDirectory(path))).toBe('DATA_DIR_LOCKED')
    first.release()
    first.release()
    openDataDirectory(path).release()
  })

  it('of a version that is newer is refused and left as it was', () => {
    const path = newDirectory()
    writeFileSync(join(path, 'VERSION'), '99\n')
    expect(codeOf(() => openDataDirectory(path))).toBe('DATA_DIR_NEWER')
    expect(readdirSync(path)).toEqual(['VERSION'])
  })

  it('that cannot be made is refused', () => {
    const file = join(newDirectory(), 'file')
    writeFileSync(file, '')
    expect(codeOf(() => openDataDirectory(join(file, 'below')))).toBe('DATA_DIR_UNWRITABLE')
  })
})

describe.skipIf(!existsSync('/proc/self/stat'))('a lock', () => {
  it('of a process that lives is respected', async () => {
    const path = newDirectory()
    const { pid } = await someone()
    writeLock(path, pid, 'aa')
    expect(codeOf(() => openDataDirectory(path))).toBe('DATA_DIR_LOCKED')
  })

  it('of a process that was killed is taken over', async () => {
    const path = newDirectory()
    const child = await someone()
    writeLock(path, child.pid, 'aa')
    child.kill('SIGKILL')
    await once(child, 'exit')
    const taken = openDataDirectory(path)
    expect(holderOf(path)[0]).toBe(String(process.pid))
    taken.release()
    expect(readdirSync(path).sort()).toEqual(['VERSION', 'cluster.json'])
  })

  it('whose pid another process has now, or from before a reboot, is taken over', () => {
    for (const started of ['1@', '0@some-other-boot', 'unknown', '']) {
      const path = newDirectory()
      writeFileSync(join(path, 'LOCK'), `${process.pid} ${started} aa\n`)
      openDataDirectory(path).release()
    }
  })

  it('that was cut off while it was written is taken over', () => {
    for (const content of ['', '\n', 'x', '12', '-5 0 0', '9'.repeat(400)]) {
      const path = newDirectory()
      writeFileSync(join(path, 'LOCK'), content)
      openDataDirectory(path).release()
    }
  })

  it('of a process that died while it took over from a dead one is taken over too', () => {
    const path = newDirectory()
    writeFileSync(join(path, 'LOCK'), '999999999 1@ aa\n')
    writeFileSync(join(path, 'LOCK.after.aa'), '999999998 1@ bb\n')
    const taken = openDataDirectory(path)
    expect(codeOf(() => openDataDirectory(path))).toBe('DATA_DIR_LOCKED')
    taken.release()
    expect(readdirSync(path).sort()).toEqual(['VERSION', 'cluster.json'])
  })

  it('of a process that is just taking over from a dead one is respected', async () => {
    const path = newDirectory()
    const { pid } = await someone()
    writeLock(path, pid, 'bb')
    const own = readFileSync(join(path, 'LOCK'))
    writeFileSync(join(path, 'LOCK.after.aa'), own)
    writeFileSync(join(path, 'LOCK'), '999999999 1@ aa\n')
    expect(codeOf(() => openDataDirectory(path))).toBe('DATA_DIR_LOCKED')
  })

  it('names one holder at a time, however many starters race for what a dead one left', async () => {
    const path = newDirectory()
    const module = new URL('../../dist/broker/data-directory.js', import.meta.url).href
    // Each takes the directory again and again, and holds a file that only one may hold at a time.
    const racer = `
      import { closeSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
      import { openDataDirectory } from ${JSON.stringify(module)}
      const path = ${JSON.stringify(path)}
      for (let taken = 0; taken < 60; ) {
        let directory
        try {
          directory = openDataDirectory(path)
        } catch (error) {
          if (error.code === 'DATA_DIR_LOCKED') continue
          throw error
        }
        closeSync(openSync(path + '/held', 'wx'))
        // Long enough for a second holder to show.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
        rmSync(path + '/held')
        taken++
        // Two of three times it leaves the lock of a dead process behind.
        if (taken % 3 === 0) directory.release()
        else {
          writeFileSync(path + '/dead' + process.pid, '999999999 1@ ' + process.pid + 'x' + taken)
          renameSync(path + '/dead' + process.pid, path + '/LOCK')
        }
      }`
    const racers = [0, 1, 2, 3, 4, 5].map(() =>
      spawn(process.execPath, ['--input-type=module', '-e', racer], {
        stdio: ['ignore', 'ignore', 'pipe'],
      }),
    )
    children.push(...racers)
    const ends = await Promise.all(
      racers.map(async child => {
        let stderr = ''
        child.stderr.on('data', chunk => {
          stderr += String(chunk)
        })
        const [code] = (await once(child, 'exit')) as [number]
        return `${code} ${stderr}`
      }),
    )
    expect(ends).toEqual(racers.map(() => '0 '))
  })
})

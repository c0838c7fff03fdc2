// Places where a file loglet could break a promise that no single crash point shows: two faults at once, a full disk at the wrong moment,
// a seal on the border of two files, readers in the way of a trim.

import { describe, expect, it } from 'vitest'
import {
  type Loglet,
  LogletClosedError,
  LogletRefusedError,
  type Position,
} from '../../../loglets/contract.ts'
import { FileLogletProvider } from '../../../loglets/file/file-provider.ts'
import { fileHeaderBytes, recordHeaderBytes } from '../../../loglets/file/format.ts'
import { nodeClock } from '../../../loglets/node-clock.ts'
import { type Keep, SimDisk, type UnsyncedOp } from '../../simulation/sim-disk.ts'

const id = '000001-abcdef'
const directory = `loglets/${id}`
const params = { kind: 'file', options: { 'segment.bytes': '4096' } }

async function freshDisk(): Promise<SimDisk> {
  const disk = new SimDisk()
  await disk.mkdir('loglets')
  return disk
}

function provider(disk: SimDisk, fatal: Error[] = []): FileLogletProvider {
  return new FileLogletProvider({
    disk,
    root: 'loglets',
    clock: nodeClock,
    onFatal: error => fatal.push(error),
  })
}

const entry = (n: number, bytes = 1000): Uint8Array => new Uint8Array(bytes).fill(n + 1)
const fileOf = (first: number): string => `${directory}/${String(first).padStart(16, '0')}.log`
const recordAt = (n: number): number => fileHeaderBytes + n * (recordHeaderBytes + 1000)

/** First byte of every entry by position, or the kind of gap. */
async function contents(loglet: Loglet): Promise<(number | string)[]> {
  const { tail } = await loglet.checkTail()
  const found: (number | string)[] = []
  while (found.length < tail)
    for (const item of await loglet.readNext(found.length as Position, tail, 1 << 20))
      if (item.kind === 'entry') found.push(item.bytes[0] as number)
      else for (let at = item.from; at < item.to; at++) found.push(item.gap)
  return found
}

const crashKeeping = (disk: SimDisk, keep: (op: UnsyncedOp) => Keep): void =>
  disk.crash(op => keep(op))

describe('a seal', () => {
  it('that fills a segment file is still known after a restart', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    // The seal record ends exactly at the size at which files roll.
    await loglet.append([entry(0, 4096 - fileHeaderBytes - 2 * recordHeaderBytes)])
    await loglet.seal()
    await loglet.close()
    const again = await provider(disk).open(id, params)
    expect(await again.checkTail()).toEqual({ tail: 1, sealed: true })
    await expect(again.append([entry(1)])).rejects.toThrow('sealed')
    await again.close()
  })
})

describe('a seal that was followed by repairs', () => {
  it('is still known after two kills without a sync in between', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    await loglet.append([entry(0)])
    await loglet.seal()
    for (const at of [1, 2]) await loglet.appendAt([entry(at)], { at, repair: true })
    for (const _ of [1, 2]) {
      // What was synced last is vouched for by nothing yet: it moves to a file of its own.
      disk.crash(() => 'all')
      const again = await provider(disk).open(id, params)
      expect(await again.checkTail()).toEqual({ tail: 3, sealed: true })
      expect(await contents(again)).toEqual([1, 2, 3])
    }
  })
})

describe('a full disk', () => {
  it('never brings a refused entry back after a power cut', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    await loglet.append([entry(0)])
    // Room for the first entry of the group and a part of the second.
    disk.faults.spaceLeft = 1500
    const refused = await Promise.allSettled([loglet.append([entry(1)]), loglet.append([entry(2)])])
    for (const outcome of refused)
      expect(outcome).toMatchObject({ status: 'rejected', reason: { outcome: 'refused' } })
    delete disk.faults.spaceLeft
    crashKeeping(disk, op => (op.kind === 'truncate' ? 'none' : 'all'))
    const again = await provider(disk).open(id, params)
    expect(await contents(again)).toEqual([1])
    await again.close()
  })

  it('in the middle of a roll hides nothing that is acked afterwards', async () => {
    for (const failing of ['write', 'datasync', 'syncDir'] as const) {
      const disk = await freshDisk()
      const loglet = await provider(disk).create(id, params)
      for (let n = 0; n < 3; n++) await loglet.append([entry(n)])
      let failures = 0
      disk.onOperation = (name, path) => {
        const isRoll = path === fileOf(4) || (failing === 'syncDir' && path === directory)
        if (name !== failing || !isRoll || failures > 0) return
        failures++
        throw Object.assign(new Error('full'), { code: 'ENOSPC' })
      }
      const acked: number[] = []
      for (let n = 3; n < 6; n++) acked.push(await loglet.append([entry(n)]))
      expect(failures).toBe(1)
      expect(acked).toEqual([3, 4, 5])
      disk.onOperation = () => {}
      for (const keep of ['none', 'all'] as const) {
        const copy = disk.fork()
        crashKeeping(copy, () => keep)
        const again = await provider(copy).open(id, params)
        expect(await contents(again)).toEqual([1, 2, 3, 4, 5, 6])
        await again.close()
      }
      await loglet.close()
    }
  })

  it('does not keep a loglet from opening and being read', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    for (let n = 0; n < 3; n++) await loglet.append([entry(n)])
    await loglet.close()
    disk.faults.spaceLeft = 0
    const again = await provider(disk).open(id, params)
    expect(await contents(again)).toEqual([1, 2, 3])
    await expect(again.append([entry(3)])).rejects.toBeInstanceOf(LogletRefusedError)
    await again.close()
  })
})

describe('what was acked', () => {
  it('is reported lost, not cut, after a clean close and any number of openings', async () => {
    const disk = await freshDisk()
    const first = await provider(disk).create(id, params)
    for (let n = 0; n < 3; n++) await first.append([entry(n)])
    await first.close()
    for (let n = 0; n < 2; n++) await (await provider(disk).open(id, params)).close()
    disk.corrupt(fileOf(0), recordAt(2) + recordHeaderBytes + 5, byte => byte ^ 1)
    const loglet = await provider(disk).open(id, params)
    expect(await contents(loglet)).toEqual([1, 2, 'lost'])
    expect(loglet.damage()).toMatchObject([{ from: 2, to: 3 }])
    expect(await loglet.append([entry(3)])).toBe(3)
    await loglet.close()
  })

  it('is reported lost, not cut, when it rots and the next group is torn', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    await loglet.append([entry(0)])
    await loglet.append([entry(1)])
    disk.onOperation = name => {
      if (name === 'datasync') throw Object.assign(new Error('power cut'), { code: 'EIO' })
    }
    await loglet.append([entry(2)]).catch(() => {})
    disk.onOperation = () => {}
    // The header of the third record made it to the disk, its body did not.
    disk.crash(op => (op.kind === 'write' ? 512 : 'all'))
    disk.corrupt(fileOf(0), recordAt(1) + recordHeaderBytes + 5, byte => byte ^ 1)
    const again = await provider(disk).open(id, params)
    expect(await contents(again)).toEqual([1, 'lost'])
    expect(again.damage()).toMatchObject([{ from: 1, to: 2 }])
    expect(await again.append([entry(2)])).toBe(2)
    await again.close()
  })

  it('cannot be pushed aside by records inside an entry', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    for (let n = 0; n < 3; n++) await loglet.append([entry(n)])
    await loglet.close()
    // A backup of a segment file, stored as an entry of another loglet whose newest record header is then torn.
    const backup = disk.content(fileOf(0)).slice()
    const other = await provider(disk).create('000002-abcdef', params)
    await other.append([entry(7)])
    disk.onOperation = name => {
      if (name === 'datasync') throw Object.assign(new Error('power cut'), { code: 'EIO' })
    }
    await other.append([entry(8, 600), backup]).catch(() => {})
    disk.onOperation = () => {}
    const sectors = Array.from({ length: 16 }, (_, i) => i > 0)
    disk.crash(op => (op.kind === 'write' ? sectors : 'all'))
    const again = await provider(disk).open('000002-abcdef', params)
    expect(await contents(again)).toEqual([8])
    expect(again.damage()).toEqual([])
    expect(await again.append([entry(9)])).toBe(1)
    await again.close()
  })
})

describe('readers', () => {
  it('report what they find damaged', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    for (let n = 0; n < 6; n++) await loglet.append([entry(n)])
    disk.corrupt(fileOf(0), recordAt(1) + recordHeaderBytes + 5, byte => byte ^ 1)
    expect(await contents(loglet)).toEqual([1, 'lost', 3, 4, 5, 6])
    await contents(loglet)
    expect(loglet.damage()).toMatchObject([{ from: 1, to: 2 }])
    await loglet.close()
  })

  it('get every slice while files roll', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    const reader = (async () => {
      let slices = 0
      for (let tail = 0; tail < 200; ) {
        tail = (await loglet.checkTail()).tail
        if (tail === 0) {
          await loglet.waitTail(0 as Position)
          continue
        }
        const position = (tail - 1) as Position
        const [slice] = await loglet.readSlices([{ position, start: 3, length: 2 }])
        expect(slice).toEqual(Uint8Array.of((position + 1) % 256, (position + 1) % 256))
        slices++
      }
      return slices
    })()
    for (let n = 0; n < 200; n++) await loglet.append([entry(n)])
    expect(await reader).toBeGreaterThan(0)
    await loglet.close()
  })

  it('see trimmed, never lost, when a trim overtakes them', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    for (let n = 0; n < 9; n++) await loglet.append([entry(n)])
    const again = await (await loglet.close(), provider(disk).open(id, params))
    const reads = Array.from({ length: 8 }, (_, n) =>
      again.readNext(n as Position, 8 as Position, 1000),
    )
    const slices = again.readSlices([{ position: 0 as Position, start: 0, length: 1 }])
    await again.prefixTrim(8 as Position)
    for (const items of await Promise.all(reads))
      for (const item of items) if (item.kind === 'gap') expect(item.gap).toBe('trimmed')
    const [slice] = await slices
    if (!(slice instanceof Uint8Array)) expect(slice).toMatchObject({ gap: 'trimmed' })
    await again.close()
  })

  it('get the bytes or a closed loglet when it closes under them', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    for (let n = 0; n < 9; n++) await loglet.append([entry(n)])
    const reads = Array.from({ length: 9 }, (_, n) =>
      loglet.readNext(n as Position, 9 as Position, 1000),
    )
    const closing = loglet.close()
    for (const outcome of await Promise.allSettled(reads))
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(LogletClosedError)
      else expect(outcome.value[0]).toMatchObject({ kind: 'entry' })
    await closing
  })

  it('try again after a file could not be opened', async () => {
    const disk = await freshDisk()
    const made = await provider(disk).create(id, params)
    for (let n = 0; n < 9; n++) await made.append([entry(n)])
    await made.close()
    const loglet = await provider(disk).open(id, params)
    const open = disk.open.bind(disk)
    disk.open = () => Promise.reject(Object.assign(new Error('too many'), { code: 'EMFILE' }))
    await expect(loglet.readNext(0 as Position, 1 as Position, 10)).rejects.toThrow('too many')
    disk.open = open
    expect(await contents(loglet)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
    await loglet.close()
  })
})

describe('an append', () => {
  it('is answered when the file cannot be opened for it, and is the last one', async () => {
    const disk = await freshDisk()
    const fatal: Error[] = []
    const loglet = await provider(disk, fatal).create(id, params)
    disk.open = () => Promise.reject(Object.assign(new Error('too many'), { code: 'EMFILE' }))
    await expect(loglet.append([entry(0)])).rejects.toThrow('too many')
    expect(fatal).toHaveLength(1)
    await expect(loglet.append([entry(1)])).rejects.toThrow('too many')
  })
})

describe('close', () => {
  it('ends every wait even when the last write fails', async () => {
    const disk = await freshDisk()
    const loglet = await provider(disk).create(id, params)
    await loglet.append([entry(0)])
    const waiting = loglet.waitTail(1 as Position)
    disk.faults.failSync = () => true
    await loglet.close().catch(() => {})
    await expect(waiting).rejects.toBeInstanceOf(Error)
  })
})

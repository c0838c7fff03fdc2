// What the file loglet makes of a damaged disk: damage is reported as `lost`, exactly, and never cut away; a torn tail is cut; errors of the
// disk are refusals or the end, never acks.

import { describe, expect, it } from 'vitest'
import {
  type Loglet,
  LogletFailedError,
  type LogItem,
  LogletLostError,
  LogletRefusedError,
  type Position,
} from '../../../loglets/contract.ts'
import { FileLogletProvider } from '../../../loglets/file/file-provider.ts'
import { fileHeaderBytes, recordHeaderBytes } from '../../../loglets/file/format.ts'
import { nodeClock } from '../../../loglets/node-clock.ts'
import { SimDisk } from '../../simulation/sim-disk.ts'

const id = '000001-abcdef'
const params = { kind: 'file', options: { 'segment.bytes': '4096' } }
const entryBytes = 1000
const directory = `loglets/${id}`

function provider(disk: SimDisk, onFatal?: (error: Error) => void): FileLogletProvider {
  return new FileLogletProvider({
    disk,
    root: 'loglets',
    clock: nodeClock,
    ...(onFatal === undefined ? {} : { onFatal }),
  })
}

const entry = (n: number): Uint8Array => new Uint8Array(entryBytes).fill(n + 1)

/** `count` entries of 1,000 bytes, four a file; closed. */
async function written(count: number): Promise<SimDisk> {
  const disk = new SimDisk()
  await disk.mkdir('loglets')
  const loglet = await provider(disk).create(id, params)
  for (let n = 0; n < count; n++) await loglet.append([entry(n)])
  await loglet.close()
  return disk
}

async function readAll(loglet: Loglet): Promise<LogItem[]> {
  const { tail } = await loglet.checkTail()
  const items: LogItem[] = []
  for (let at = 0; at < tail; ) {
    const some = await loglet.readNext(at as Position, tail, 1 << 20)
    items.push(...some)
    const last = some.at(-1) as LogItem
    at = last.kind === 'gap' ? last.to : last.position + 1
  }
  return items
}

/** Positions that are served with the right bytes, and the gaps. */
async function summary(loglet: Loglet): Promise<{ served: number[]; lost: [number, number][] }> {
  const served: number[] = []
  const lost: [number, number][] = []
  for (const item of await readAll(loglet))
    if (item.kind === 'gap') {
      expect(item.gap).toBe('lost')
      lost.push([item.from, item.to])
    } else {
      expect(Buffer.compare(item.bytes, entry(item.position))).toBe(0)
      served.push(item.position)
    }
  return { served, lost }
}

const recordAt = (n: number): number => fileHeaderBytes + n * (recordHeaderBytes + entryBytes)
const fileOf = (first: number): string => `${directory}/${String(first).padStart(16, '0')}.log`

describe('damage in a closed file', () => {
  it('loses exactly the entry whose body has a flipped bit', async () => {
    const disk = await written(10)
    disk.corrupt(fileOf(0), recordAt(1) + recordHeaderBytes + 17, byte => byte ^ 4)
    const loglet = await provider(disk).open(id, params)
    expect(await summary(loglet)).toEqual({ served: [0, 2, 3, 4, 5, 6, 7, 8, 9], lost: [[1, 2]] })
    const [slice] = await loglet.readSlices([{ position: 2 as Position, start: 5, length: 3 }])
    expect(slice).toEqual(Uint8Array.of(3, 3, 3))
    await loglet.close()
  })

  it('loses exactly the entry whose header has a flipped bit', async () => {
    const disk = await written(10)
    disk.corrupt(fileOf(0), recordAt(2) + 10, byte => byte ^ 1)
    const loglet = await provider(disk).open(id, params)
    expect(await summary(loglet)).toEqual({ served: [0, 1, 3, 4, 5, 6, 7, 8, 9], lost: [[2, 3]] })
    await loglet.close()
  })

  it('serves everything without its index', async () => {
    const disk = await written(10)
    const size = disk.content(fileOf(0)).length
    disk.corrupt(fileOf(0), size - 3, byte => byte ^ 255)
    const loglet = await provider(disk).open(id, params)
    expect((await summary(loglet)).lost).toEqual([])
    await loglet.close()
  })

  it('loses the range of a file that is missing in the middle', async () => {
    const disk = await written(10)
    await disk.remove(fileOf(4))
    const loglet = await provider(disk).open(id, params)
    expect(await summary(loglet)).toEqual({ served: [0, 1, 2, 3, 8, 9], lost: [[4, 8]] })
    await loglet.close()
  })
})

describe('damage in the newest file', () => {
  it('loses an entry below the watermark and cuts nothing', async () => {
    const disk = await written(10)
    disk.corrupt(fileOf(8), recordAt(0) + recordHeaderBytes + 1, byte => byte ^ 1)
    const loglet = await provider(disk).open(id, params)
    expect(await summary(loglet)).toEqual({ served: [0, 1, 2, 3, 4, 5, 6, 7, 9], lost: [[8, 9]] })
    expect(loglet.damage()).toMatchObject([{ from: 8, to: 9 }])
    expect(await loglet.append([entry(10)])).toBe(10)
    await loglet.close()
  })

  it('cuts a torn tail and goes on behind it', async () => {
    const disk = await written(2)
    const loglet = await provider(disk).open(id, params)
    await loglet.append([entry(2)])
    disk.onOperation = name => {
      if (name === 'datasync') throw Object.assign(new Error('power cut'), { code: 'EIO' })
    }
    await expect(loglet.append([entry(3)])).rejects.toBeInstanceOf(LogletFailedError)
    disk.onOperation = () => {}
    disk.crash(op => (op.kind === 'write' ? 600 : 'all'))
    const again = await provider(disk).open(id, params)
    expect(await summary(again)).toEqual({ served: [0, 1, 2], lost: [] })
    expect(await again.append([entry(3)])).toBe(3)
    expect(await summary(again)).toEqual({ served: [0, 1, 2, 3], lost: [] })
    await again.close()
  })

  it('is lost, not empty, when it is missing although it existed', async () => {
    const disk = await written(10)
    await disk.remove(fileOf(8))
    await expect(provider(disk).open(id, params)).rejects.toBeInstanceOf(LogletLostError)
  })

  it('is lost, not empty, when nothing of the loglet is there', async () => {
    const disk = await written(3)
    await disk.remove(directory)
    await expect(provider(disk).open(id, params)).rejects.toBeInstanceOf(LogletLostError)
  })
})

describe('errors of the disk', () => {
  it('refuse what does not fit, without a trace, and go on when there is space', async () => {
    const disk = await written(3)
    const loglet = await provider(disk).open(id, params)
    disk.faults.spaceLeft = 700
    const refusal = await loglet.append([entry(99)]).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(LogletRefusedError)
    expect(refusal).toMatchObject({ reason: 'no-space', outcome: 'refused' })
    expect((await loglet.checkTail()).tail).toBe(3)
    delete disk.faults.spaceLeft
    expect(await loglet.append([entry(3)])).toBe(3)
    await loglet.close()
    disk.crash(() => 'none')
    const again = await provider(disk).open(id, params)
    expect(await summary(again)).toEqual({ served: [0, 1, 2, 3], lost: [] })
    await again.close()
  })

  it('end everything at a failed fdatasync, and what was acked stays', async () => {
    const disk = await written(3)
    const fatal: Error[] = []
    const loglet = await provider(disk, error => fatal.push(error)).open(id, params)
    await loglet.append([entry(3)])
    disk.faults.failSync = path => path.endsWith('.log')
    const outcomes = await Promise.allSettled([
      loglet.append([entry(4)]),
      loglet.append([entry(5)]),
    ])
    for (const outcome of outcomes)
      expect(outcome).toMatchObject({
        status: 'rejected',
        reason: { code: 'LOGLET_FAILED', outcome: 'unknown' },
      })
    delete disk.faults.failSync
    await expect(loglet.append([entry(6)])).rejects.toBeInstanceOf(LogletFailedError)
    await expect(loglet.checkTail()).rejects.toBeInstanceOf(LogletFailedError)
    expect(fatal).toHaveLength(1)
    await loglet.close()
    disk.crash(() => 'none')
    const again = await provider(disk).open(id, params)
    expect((await summary(again)).served.slice(0, 4)).toEqual([0, 1, 2, 3])
    await again.close()
  })
})

// The offline check of a loglet's files: says what is there and what is not, and changes nothing.

import { describe, expect, it } from 'vitest'
import { LogletLostError, type Position } from '../../../loglets/contract.ts'
import { FileLogletProvider } from '../../../loglets/file/file-provider.ts'
import { fileHeaderBytes, recordHeaderBytes } from '../../../loglets/file/format.ts'
import { verifyFileLoglet } from '../../../loglets/file/verify.ts'
import { nodeClock } from '../../../loglets/node-clock.ts'
import { SimDisk } from '../../simulation/sim-disk.ts'

const id = '000001-abcdef'
const params = { kind: 'file', options: { 'segment.bytes': '4096' } }
const fileOf = (first: number): string => `loglets/${id}/${String(first).padStart(16, '0')}.log`
const bodyOf = (n: number): number =>
  fileHeaderBytes + n * (recordHeaderBytes + 1000) + recordHeaderBytes

const provider = (disk: SimDisk): FileLogletProvider =>
  new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock })

/** Ten entries of 1,000 bytes, four a file. */
async function written(trim = 0): Promise<SimDisk> {
  const disk = new SimDisk()
  await disk.mkdir('loglets')
  const loglet = await provider(disk).create(id, params)
  for (let n = 0; n < 10; n++) await loglet.append([new Uint8Array(1000).fill(n)])
  await loglet.prefixTrim(trim as Position)
  await loglet.close()
  return disk
}

/** The report; fails when the check changed the disk. */
async function verify(disk: SimDisk): Promise<Awaited<ReturnType<typeof verifyFileLoglet>>> {
  const { operations } = disk
  const report = await verifyFileLoglet(disk, 'loglets', id)
  expect(disk.operations).toBe(operations)
  return report
}

describe('verify', () => {
  it('counts what is whole', async () => {
    expect(await verify(await written())).toEqual({
      entries: 10,
      bytes: 10_000,
      damaged: [],
      sealed: false,
    })
  })

  it('does not count what is trimmed', async () => {
    expect(await verify(await written(5))).toMatchObject({ entries: 5, damaged: [] })
    expect(await verify(await written(9))).toMatchObject({ entries: 1, damaged: [] })
  })

  it('names every damaged range', async () => {
    const disk = await written()
    disk.corrupt(fileOf(0), bodyOf(1), byte => byte ^ 1)
    disk.corrupt(fileOf(0), bodyOf(3), byte => byte ^ 1)
    disk.corrupt(fileOf(8), bodyOf(0), byte => byte ^ 1)
    await disk.remove(fileOf(4))
    const { entries, damaged } = await verify(disk)
    expect(entries).toBe(3)
    expect(damaged.map(d => [d.from, d.to, d.kind])).toEqual([
      [1, 2, 'lost'],
      [3, 8, 'lost'],
      [8, 9, 'lost'],
    ])
  })

  it('tells a torn write from damage', async () => {
    const disk = await written()
    const loglet = await provider(disk).open(id, params)
    disk.onOperation = name => {
      if (name === 'datasync') throw Object.assign(new Error('power cut'), { code: 'EIO' })
    }
    await loglet.append([new Uint8Array(1000)]).catch(() => {})
    disk.onOperation = () => {}
    disk.crash(op => (op.kind === 'write' ? 512 : 'all'))
    const { entries, damaged } = await verify(disk)
    expect(entries).toBe(10)
    expect(damaged).toMatchObject([{ from: 10, to: 10, kind: 'torn' }])
    await (await provider(disk).open(id, params)).close()
    expect((await verify(disk)).damaged).toEqual([])
  })

  it('says when the loglet is sealed', async () => {
    const disk = await written()
    const loglet = await provider(disk).open(id, params)
    await loglet.seal()
    await loglet.close()
    expect((await verify(disk)).sealed).toBe(true)
  })

  it('refuses what is lost as a whole', async () => {
    const disk = await written()
    await disk.remove(fileOf(8))
    await expect(verifyFileLoglet(disk, 'loglets', id)).rejects.toBeInstanceOf(LogletLostError)
    await disk.remove(`loglets/${id}`)
    await expect(verifyFileLoglet(disk, 'loglets', id)).rejects.toBeInstanceOf(LogletLostError)
  })

  it('reads a newest file whose header rotted, and so does an opening', async () => {
    const disk = await written()
    disk.corrupt(fileOf(8), 20, byte => byte ^ 1)
    expect(await verify(disk)).toMatchObject({ entries: 10, damaged: [] })
    const loglet = await provider(disk).open(id, params)
    expect(await loglet.checkTail()).toEqual({ tail: 10, sealed: false })
    expect(await loglet.readNext(9 as Position, 10 as Position, 10)).toMatchObject([
      { kind: 'entry', position: 9 },
    ])
    await loglet.close()
  })
})

// What a roll makes appends wait for, and what it leaves for later: the end of the old file.

import { describe, expect, it } from 'vitest'
import type { Loglet, Position } from '../../../loglets/contract.ts'
import { FileLogletProvider } from '../../../loglets/file/file-provider.ts'
import { nodeClock } from '../../../loglets/node-clock.ts'
import type { Disk } from '../../../loglets/ports.ts'
import { holdingWrites } from '../../simulation/held-writes.ts'
import { SimDisk } from '../../simulation/sim-disk.ts'

const id = '000001-abcdef'
const params = { kind: 'file', options: { 'segment.bytes': '4096' } }
const entry = (n: number): Uint8Array => new Uint8Array(1000).fill(n + 1)

/** A disk on which the first file takes no write past the size at which files roll until it is told to: its trailer. */
class SlowTrailers {
  readonly disk: Disk
  readonly inner = new SimDisk()
  waiting = 0
  private readonly gate: Promise<void>
  private open: () => void = () => {}
  private fail: (error: Error) => void = () => {}

  constructor() {
    this.gate = new Promise((resolve, reject) => {
      this.open = resolve
      this.fail = reject
    })
    this.gate.catch(() => {})
    this.disk = holdingWrites(this.inner, (path, at) => {
      if (at < 4096 || !path.endsWith('/0000000000000000.log')) return undefined
      this.waiting++
      return this.gate
    })
  }

  go(): void {
    this.open()
  }

  break(): void {
    this.fail(Object.assign(new Error('EIO: i/o error, write'), { code: 'EIO' }))
  }
}

async function scene() {
  const slow = new SlowTrailers()
  await slow.inner.mkdir('loglets')
  const fatal: Error[] = []
  const provider = new FileLogletProvider({
    disk: slow.disk,
    root: 'loglets',
    clock: nodeClock,
    onFatal: error => fatal.push(error),
  })
  const loglet = await provider.create(id, params)
  return { slow, fatal, loglet, provider }
}

async function count(loglet: Loglet): Promise<number> {
  const { tail } = await loglet.checkTail()
  let found = 0
  while (found < tail)
    for (const item of await loglet.readNext(found as Position, tail, 1 << 20)) {
      if (item.kind !== 'entry') throw new Error(`gap at ${found}`)
      expect(item.bytes[0]).toBe(found + 1)
      found++
    }
  return found
}

describe('a roll', () => {
  it('goes on in the new file while the old one has not got its trailer, and is read meanwhile', async () => {
    const { slow, loglet } = await scene()
    for (let n = 0; n < 12; n++) await loglet.append([entry(n)])
    expect(slow.waiting).toBe(1)
    expect(await count(loglet)).toBe(12)
    slow.go()
    await loglet.close()
  })

  it('gives the trailer before the loglet is closed, and before the old file is removed', async () => {
    const { slow, loglet } = await scene()
    for (let n = 0; n < 6; n++) await loglet.append([entry(n)])
    let isTrimmed = false
    const trimmed = loglet.prefixTrim(6 as Position).then(() => {
      isTrimmed = true
    })
    for (let i = 0; i < 20; i++) await nodeClock.sleep(0)
    expect(isTrimmed).toBe(false)
    slow.go()
    await trimmed
    await loglet.close()
  })

  it('that a crash cut off before the trailer leaves everything that was acked', async () => {
    const { slow, loglet } = await scene()
    for (let n = 0; n < 8; n++) await loglet.append([entry(n)])
    slow.inner.crash(() => 'none')
    const again = await new FileLogletProvider({
      disk: slow.inner,
      root: 'loglets',
      clock: nodeClock,
    }).open(id, params)
    expect(await count(again)).toBe(8)
    await again.append([entry(8)])
    await again.close()
  })

  it('whose trailer cannot be written ends the loglet: what its disk says counts wherever it is said', async () => {
    const { slow, loglet, fatal } = await scene()
    for (let n = 0; n < 6; n++) await loglet.append([entry(n)])
    slow.break()
    await expect.poll(() => fatal.length).toBe(1)
    await expect(loglet.append([entry(6)])).rejects.toThrow('EIO')
    await loglet.close()
  })
})

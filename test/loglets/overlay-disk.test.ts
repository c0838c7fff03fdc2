// A disk over another one: shows what a copy would show, whatever is done to it, and leaves the other one as it was.

import { array, assert, asyncProperty, constantFrom, integer, record } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { nodeClock } from '../../loglets/node-clock.ts'
import { overlayDisk } from '../../loglets/overlay-disk.ts'
import type { Disk } from '../../loglets/ports.ts'
import { SimDisk } from '../simulation/sim-disk.ts'

const names = ['d/a', 'd/b', 'd/c'] as const
const operation = record({
  kind: constantFrom('write', 'truncate', 'rename', 'remove', 'create'),
  name: constantFrom(...names),
  other: constantFrom(...names),
  at: integer({ min: 0, max: 30 }),
  byte: integer({ min: 1, max: 255 }),
})

async function perform(
  disk: Disk,
  {
    kind,
    name,
    other,
    at,
    byte,
  }: { kind: string; name: string; other: string; at: number; byte: number },
): Promise<string> {
  try {
    if (kind === 'remove') await disk.remove(name)
    else if (kind === 'rename') await disk.rename(name, other)
    else {
      const file = await disk.open(name, kind === 'create' ? { create: true } : {})
      if (kind === 'truncate') await file.truncate(Math.min(at, await file.size()))
      else
        await file.write(
          [Uint8Array.of(byte, byte), Uint8Array.of(byte)],
          Math.min(at, await file.size()),
        )
      await file.close()
    }
    return 'done'
  } catch (error) {
    return (error as { code?: string }).code ?? 'no code'
  }
}

async function contentOf(disk: Disk): Promise<Record<string, number[]>> {
  const content: Record<string, number[]> = {}
  for (const name of await disk.list('d')) {
    const file = await disk.open(`d/${name}`)
    content[name] = [...(await file.read(0, 1000))]
    expect(await file.size()).toBe(content[name].length)
    await file.close()
  }
  return content
}

describe('an overlay disk', () => {
  it('does what a disk does, and leaves the one below alone', async () => {
    await assert(
      asyncProperty(
        array(operation, { maxLength: 12 }),
        array(operation, { maxLength: 25 }),
        async (before, after) => {
          const base = new SimDisk()
          await base.mkdir('d')
          for (const step of before) await perform(base, step)
          const copy = base.fork()
          const was = await contentOf(base)
          const overlay = overlayDisk(base)
          for (const step of after) {
            // The model refuses to rename a file onto itself in its own way.
            if (step.kind === 'rename' && step.name === step.other) continue
            expect(await perform(overlay, step)).toBe(await perform(copy, step))
            expect(await contentOf(overlay)).toEqual(await contentOf(copy))
          }
          expect(await contentOf(base)).toEqual(was)
        },
      ),
      { numRuns: 200 },
    )
  })

  it('opens a loglet with a torn tail, and the tail is still there afterwards', async () => {
    const disk = new SimDisk()
    await disk.mkdir('loglets')
    const params = { kind: 'file', options: {} }
    const open = (on: Disk): FileLogletProvider =>
      new FileLogletProvider({ disk: on, root: 'loglets', clock: nodeClock })
    const loglet = await open(disk).create('000000-abcdef', params)
    await loglet.append([Uint8Array.of(1, 2, 3)])
    await loglet.close()
    const [file = ''] = (await disk.list('loglets/000000-abcdef')).filter(name =>
      name.endsWith('.log'),
    )
    const path = `loglets/000000-abcdef/${file}`
    const handle = await disk.open(path)
    const size = await handle.size()
    await handle.write([Uint8Array.of(9, 9, 9, 9, 9)], size)
    const verified = await open(overlayDisk(disk)).open('000000-abcdef', params)
    expect((await verified.checkTail()).tail).toBe(1)
    await verified.close()
    expect(await handle.size()).toBe(size + 5)
  })
})

// One log server's copy by itself.

import { expect, it } from 'vitest'
import { position } from '../../../loglets/contract.ts'
import { FileLogletProvider } from '../../../loglets/file/file-provider.ts'
import { Replica } from '../../../loglets/native/replica.ts'
import { nodeClock } from '../../../loglets/node-clock.ts'
import { SimDisk } from '../../simulation/sim-disk.ts'

it('answers each slice with its own bytes although entries are stored meanwhile', async () => {
  const disk = new SimDisk()
  await disk.mkdir('loglets')
  const files = new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock })
  const loglet = await files.create('000000-abcdef', { kind: 'file', options: {} })
  const replica = await Replica.over(loglet, 'inc')
  const entryOf = (n: number): Uint8Array[] => [Uint8Array.of(n)]
  const store = (at: number): Promise<string> =>
    replica.store({ incarnation: 'inc', at, entries: [entryOf(at)], repair: false })
  await store(0)
  await store(1)
  // Position 2 comes while the slices are being read; it lies before another in the request.
  const readSlices = loglet.readSlices.bind(loglet)
  loglet.readSlices = async slices => {
    const found = await readSlices(slices)
    await store(2)
    return found
  }
  const slices = [2, 0, 1].map(at => ({ position: position(at), start: 0, length: 1 }))
  expect(await replica.readSlices(slices)).toEqual([
    { gap: 'lost' },
    Uint8Array.of(0),
    Uint8Array.of(1),
  ])
  await replica.close()
})

// What the simulation found, as tests of their own: the run of a seed changes with the scenario, these do not.

import { expect, it } from 'vitest'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { nodeClock } from '../../loglets/node-clock.ts'
import { SimDisk } from './sim-disk.ts'

const id = '000001-abcdef'
const params = { kind: 'file', options: { 'segment.bytes': '4096' } }
const provider = (disk: SimDisk): FileLogletProvider =>
  new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock })

// Found by the log scenario: killed during a roll, started again, power cut.
it('keeps what was acked into a segment file whose name was not synced when its process died', async () => {
  const disk = new SimDisk()
  await disk.mkdir('loglets')
  const loglet = await provider(disk).create(id, params)
  let killed: SimDisk | undefined
  disk.onOperation = (name, path) => {
    // The new file has its header; its name is not durable yet.
    if (name === 'syncDir' && path === `loglets/${id}`) killed ??= disk.fork()
  }
  await loglet.append([new Uint8Array(4096).fill(1)])
  await loglet.append([Uint8Array.of(2)])
  await loglet.close()
  if (killed === undefined) throw new Error('no second segment file was made')

  const second = await provider(killed).open(id, params)
  const at = await second.append([Uint8Array.of(3)])
  await second.close()
  killed.crash(() => 'none')

  const third = await provider(killed).open(id, params)
  expect((await third.checkTail()).tail).toBe(at + 1)
  await third.close()
})

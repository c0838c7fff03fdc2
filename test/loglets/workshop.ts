// Makes loglets of any spec for the conformance suite: files in a directory of their own, memory in a provider of its own.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LogletFixture } from '../../loglets/conformance/index.ts'
import type { Loglet } from '../../loglets/contract.ts'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { nodeClock, nodeRandom } from '../../loglets/node-clock.ts'
import { nodeDisk } from '../../loglets/node-disk.ts'
import { LogletRegistry } from '../../loglets/registry.ts'

export const ports = { clock: nodeClock, random: nodeRandom }

/** Loglets of `spec`, composed by the registry. */
export function fixtureOf(spec: string): LogletFixture {
  return async () => {
    const dir = await mkdtemp(join(tmpdir(), 'logloom-conformance-'))
    const disk = nodeDisk(dir)
    await disk.mkdir('loglets')
    const memory = new MemoryLogletProvider()
    const registry = (): LogletRegistry =>
      new LogletRegistry([
        memory,
        new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock, onFatal: () => {} }),
      ])
    const ids = new Map<Loglet, string>()
    const opened: Loglet[] = []
    const note = (loglet: Loglet, id: string): Loglet => {
      ids.set(loglet, id)
      opened.push(loglet)
      return loglet
    }
    return {
      durable: true,
      create: async (id = `00000${opened.length}-abcdef`) =>
        note(await registry().create(id, spec, ports), id),
      reopen: async loglet => {
        const id = ids.get(loglet) as string
        return note(await registry().open(id, spec, ports), id)
      },
      openAbsent: () => registry().open('000099-abcdef', spec, ports),
      cleanup: async () => {
        for (const loglet of opened) await loglet.close()
        await rm(dir, { recursive: true })
      },
    }
  }
}

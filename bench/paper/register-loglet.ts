// A loglet that orders by general consensus: what waits joins the next version of a Paxos register on three nodes, one version after the other.
//
// The stand-in for the paper's ZKLoglet, its first one: right, safe, and never made fast. Each version takes two round trips to a majority, and
// every step of it is durable before its answer, as in `loglets/metastore/paxos`, which it uses. Entries are as durable as they are in `native` until
// the next version; reads come from memory, so it is good for measuring appends and for nothing else.

import {
  type Entry,
  type Loglet,
  type LogletParams,
  type LogletProvider,
  type Position,
  type TailState,
} from '../../loglets/contract.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import type { MetaStore } from '../../loglets/metastore/metastore.ts'

interface Waiting {
  readonly entry: Entry
  readonly resolve: (position: Position) => void
  readonly reject: (error: Error) => void
}

export class RegisterLogletProvider implements LogletProvider {
  readonly kind = 'register'
  readonly scope = 'cluster'
  readonly volatile = false
  private readonly memory = new MemoryLogletProvider()
  private readonly write: (value: Uint8Array) => Promise<void>

  /** Nobody else writes to the register. */
  constructor(register: MetaStore) {
    let version: number | undefined
    this.write = async value => {
      version ??= (await register.read()).version
      const written = await register.write(value, version)
      if (!written.ok) throw new Error('somebody else wrote to the register')
      version = written.version
    }
  }

  validate(params: LogletParams): void {
    this.memory.validate(params)
  }

  async create(id: string, params: LogletParams): Promise<Loglet> {
    return registerLoglet(this.write, await this.memory.create(id, params))
  }

  async open(id: string, params: LogletParams): Promise<Loglet> {
    return registerLoglet(this.write, await this.memory.open(id, params))
  }

  remove(id: string): Promise<void> {
    return this.memory.remove(id)
  }
}

function registerLoglet(
  writeToRegister: (value: Uint8Array) => Promise<void>,
  memory: Loglet,
): Loglet {
  let queue: Waiting[] = []
  let writing: Promise<void> | undefined

  const write = async (): Promise<void> => {
    while (queue.length > 0) {
      const group = queue
      queue = []
      try {
        await writeToRegister(Buffer.concat(group.flatMap(({ entry }) => entry)))
        for (const { entry, resolve } of group) resolve(await memory.append(entry))
      } catch (error) {
        for (const { reject } of group) reject(error as Error)
      }
    }
    writing = undefined
  }

  return {
    kind: 'register',
    append: entry =>
      new Promise((resolve, reject) => {
        queue.push({ entry, resolve, reject })
        writing ??= write()
      }),
    checkTail: signal => memory.checkTail(signal),
    readNext: (from, to, maxBytes, signal) => memory.readNext(from, to, maxBytes, signal),
    readSlices: (slices, signal) => memory.readSlices(slices, signal),
    waitTail: (beyond, signal): Promise<TailState> => memory.waitTail(beyond, signal),
    prefixTrim: before => memory.prefixTrim(before),
    seal: async () => {
      await writing
      await memory.seal()
    },
    close: async () => {
      await writing
      await memory.close()
    },
  }
}

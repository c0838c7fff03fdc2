// What a test of snapshots works with: brokers, clients and a file in a directory of its own, all gone after each test.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'vitest'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../broker/index.ts'
import { type Client, connect } from '../../client/index.ts'

export interface Scene {
  readonly directory: string
  /** Path of a snapshot that is not there yet. */
  readonly snapshot: string
  /** Closed after the test, the last one first. */
  readonly open: { close(): Promise<unknown> }[]
  readonly broker: (options?: StartBrokerOptions) => Promise<RunningBroker>
  readonly clientOf: (url: string) => Promise<Client>
}

/** A new scene for each test of the file that calls it. */
export function sceneOfEachTest(): Scene {
  const open: Scene['open'] = []
  let directory = ''
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'logloom-snapshot-'))
  })
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close()
    await rm(directory, { recursive: true, force: true })
  })
  return {
    get directory() {
      return directory
    },
    get snapshot() {
      return join(directory, 'one.snapshot')
    },
    open,
    broker: async (options = {}) => {
      const running = await startBroker({ port: 0, ...options })
      open.push(running)
      return running
    },
    clientOf: async url => {
      const client = await connect(url)
      open.push(client)
      return client
    },
  }
}

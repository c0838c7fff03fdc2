// A broker in memory and its clients, one broker for each test of a file.

import { afterEach, beforeEach } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Client, connect } from '../../client/index.ts'

export interface MemoryBroker {
  /** Of the test that runs. */
  readonly broker: () => RunningBroker
  /** One more client, closed after the test. */
  readonly client: () => Promise<Client>
}

/** To be called once, at the top of a file. Members of groups that are away are found soon. */
export function useMemoryBroker(): MemoryBroker {
  let broker: RunningBroker
  const clients: Client[] = []
  beforeEach(async () => {
    broker = await startBroker({ loglet: 'memory', port: 0, groupSweepIntervalMs: 20 })
  })
  afterEach(async () => {
    await Promise.all(clients.splice(0).map(client => client.close()))
    await broker.close()
  })
  return {
    broker: () => broker,
    client: async () => {
      const made = await connect(broker.url)
      clients.push(made)
      return made
    },
  }
}

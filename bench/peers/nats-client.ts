// NATS JetStream by nats.js: publishes are not waited for one by one; an ordered consumer reads.

import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { type PeerClient, pipelined } from './peer-client.ts'

/** Of pulls: what the client asks for ahead. */
const readAheadBytes = 4 << 20
const publishTimeoutMs = 30_000

export async function natsClient(url: string): Promise<PeerClient> {
  const connection = await connect({ servers: url })
  const stream = jetstream(connection)
  const manager = await jetstreamManager(connection)
  const publish = (subject: string, value: Buffer): Promise<unknown> =>
    stream.publish(subject, value, { timeout: publishTimeoutMs })
  return {
    create: async name => {
      await manager.streams.add({ name, subjects: [name], storage: 'file', num_replicas: 1 })
    },
    drop: async name => {
      await manager.streams.delete(name)
    },
    send: async (name, value) => {
      await publish(name, value)
    },
    produce: (name, value, inFlightBytes, isOver) =>
      pipelined(
        () => publish(name, value),
        Math.max(1, Math.floor(inFlightBytes / value.length)),
        isOver,
      ),
    consume: async (name, records) => {
      const consumer = await stream.consumers.get(name)
      const messages = await consumer.consume({ max_bytes: readAheadBytes })
      let read = 0
      for await (const { data } of messages) if (data.length > 0 && ++read === records) break
      await messages.close()
    },
    close: () => connection.close(),
  }
}

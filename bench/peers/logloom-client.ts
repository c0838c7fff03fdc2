// Logloom by its SDK: records are enqueued one by one, the producer makes batches of them.

import { connect, type Ticket } from '../../client/index.ts'
import type { PeerClient } from './peer-client.ts'

const batchSize = 65_536

export async function logloomClient(url: string): Promise<PeerClient> {
  const client = await connect(url)
  const admin = client.admin()
  const single = client.producer({ lingerMs: 0 })
  return {
    create: async stream => {
      await admin.createTopic({ topic: stream, partitions: 1 })
    },
    drop: async stream => {
      await admin.deleteTopic(stream)
    },
    send: async (stream, value) => {
      await single.send(stream, { value })
    },
    produce: async (stream, value, inFlightBytes, isOver) => {
      const producer = client.producer({ maxInflightBytes: inFlightBytes, batchSize, lingerMs: 5 })
      let last: Ticket | undefined
      let sent = 0
      while (!isOver()) {
        while (producer.inflightBytes < inFlightBytes) {
          last = producer.enqueue(stream, { value }, { partition: 0 })
          sent++
        }
        await producer.ready()
      }
      await producer.flush()
      // Acks come in order, and a producer that has failed says so to all that follow.
      await last?.acked
      await producer.close()
      return sent
    },
    consume: async (stream, records) => {
      let read = 0
      const options = { from: 'beginning', until: 'end', as: 'bytes' } as const
      for await (const record of client.read(stream, options)) if (record.value !== null) read++
      if (read < records) throw new Error(`${read} of ${records} records came`)
    },
    close: () => client.close(),
  }
}

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
      const producer = client.producer({
        // What a record costs besides its value counts there too; the limit that matters is the one below.
        maxInflightBytes: 4 * inFlightBytes,
        batchSize,
        lingerMs: 5,
      })
      const limit = Math.max(1, Math.floor(inFlightBytes / value.length))
      const step = Math.max(1, Math.min(64, limit >> 3))
      /** Every so many records one is looked at: acks come in order. */
      const watched: Ticket[] = []
      let sent = 0
      while (!isOver()) {
        const ticket = producer.enqueue(stream, { value }, { partition: 0 })
        if (++sent % step !== 0) continue
        watched.push(ticket)
        if (watched.length * step >= limit) await watched.shift()?.acked
      }
      await producer.flush()
      for (const { acked } of watched) await acked
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

// Redis Streams by node-redis: XADD, which the client pipelines by itself ("commands made in the same tick"), and XREAD by pages.

import { createClient, RESP_TYPES } from 'redis'
import { type PeerClient, pipelined } from './peer-client.ts'

const pageRecords = 1000
const pageBytes = 1 << 20

export async function redisClient(url: string): Promise<PeerClient> {
  const client = createClient({ url })
  await client.connect()
  const bytes = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
  return {
    create: async () => {
      // The first XADD makes it.
    },
    drop: async stream => {
      await client.unlink(stream)
    },
    send: async (stream, value) => {
      await client.xAdd(stream, '*', { value })
    },
    produce: (stream, value, inFlightBytes, isOver) =>
      pipelined(
        () => client.xAdd(stream, '*', { value }),
        Math.max(1, Math.floor(inFlightBytes / value.length)),
        isOver,
      ),
    consume: async (stream, records) => {
      let read = 0
      let id = '0'
      let count = 100
      while (read < records) {
        const found = (await bytes.xRead({ key: stream, id }, { COUNT: count })) as unknown as
          | readonly {
              readonly messages: readonly {
                readonly id: Buffer
                readonly message: Readonly<Record<string, Buffer>>
              }[]
            }[]
          | null
        const messages = found?.[0]?.messages ?? []
        const last = messages.at(-1)
        if (last === undefined) throw new Error(`${read} of ${records} records came`)
        for (const { message } of messages) if (message['value'] !== undefined) read++
        id = last.id.toString()
        // Pages of about a megabyte.
        const size = last.message['value']?.length ?? 1
        count = Math.min(pageRecords * 10, Math.max(1, Math.floor(pageBytes / size)))
      }
    },
    close: async () => {
      client.destroy()
    },
  }
}

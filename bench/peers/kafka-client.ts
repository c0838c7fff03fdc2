// Kafka by @platformatic/kafka: batches of records in one send, acks from all replicas, `mode: earliest` to read.

import {
  Admin,
  Consumer,
  MessagesStreamFallbackModes,
  MessagesStreamModes,
  ProduceAcks,
  Producer,
} from '@platformatic/kafka'
import { type PeerClient, pipelined } from './peer-client.ts'

const batchBytes = 65_536

/** `url`: bootstrap servers; `?flush=1` syncs every batch before its ack (`flush.messages=1`). */
export async function kafkaClient(url: string): Promise<PeerClient> {
  const [servers = '', flush] = url.split('?flush=')
  const base = { clientId: 'logloom-bench', bootstrapBrokers: servers.split(',') }
  const admin = new Admin(base)
  const producer = new Producer(base)
  const acks = ProduceAcks.ALL
  let groups = 0
  return {
    create: async stream => {
      const configs = flush === '1' ? [{ name: 'flush.messages', value: '1' }] : []
      await admin.createTopics({ topics: [stream], partitions: 1, replicas: 1, configs })
    },
    drop: async stream => {
      await admin.deleteTopics({ topics: [stream] })
    },
    send: async (topic, value) => {
      await producer.send({ acks, messages: [{ topic, value, partition: 0 }] })
    },
    produce: async (topic, value, inFlightBytes, isOver) => {
      const perBatch = Math.max(1, Math.floor(batchBytes / value.length))
      const messages = Array.from({ length: perBatch }, () => ({ topic, value, partition: 0 }))
      const inFlight = Math.max(1, Math.floor(inFlightBytes / (perBatch * value.length)))
      return perBatch * (await pipelined(() => producer.send({ acks, messages }), inFlight, isOver))
    },
    consume: async (topic, records) => {
      const groupId = `bench-${process.pid}-${groups++}`
      const consumer = new Consumer({ ...base, groupId })
      const stream = await consumer.consume({
        topics: [topic],
        autocommit: false,
        mode: MessagesStreamModes.EARLIEST,
        fallbackMode: MessagesStreamFallbackModes.EARLIEST,
        maxBytes: 4 << 20,
      })
      let read = 0
      for await (const { value } of stream) if (value !== null && ++read === records) break
      await stream.close()
      await consumer.close()
    },
    close: async () => {
      await producer.close()
      await admin.close()
    },
  }
}

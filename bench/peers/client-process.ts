// One client of one broker, in a process of its own. Usage: node client-process.js KIND URL

import { logloomClient } from './logloom-client.ts'
import { type PeerClient, type PeerKind, serveCommands } from './peer-client.ts'

const [kind = '', url = ''] = process.argv.slice(2)

// Each loads only its own library.
const makers: Readonly<Record<PeerKind, () => Promise<PeerClient>>> = {
  logloom: () => logloomClient(url),
  redis: async () => (await import('./redis-client.ts')).redisClient(url),
  nats: async () => (await import('./nats-client.ts')).natsClient(url),
  kafka: async () => (await import('./kafka-client.ts')).kafkaClient(url),
}

await serveCommands(await makers[kind as PeerKind]())
process.exit()

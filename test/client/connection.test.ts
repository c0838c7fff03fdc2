// Connecting, losing and leaving.

import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import {
  type Client,
  connect,
  connectReader,
  formatResumeToken,
  parseResumeToken,
} from '../../client/index.ts'
import { FakeBroker } from './fake-broker.ts'

const open: { close(): Promise<void> }[] = []

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close()
})

async function startBroker(): Promise<FakeBroker> {
  const broker = await FakeBroker.start()
  open.push({ close: () => broker.stop() })
  return broker
}

async function connectTo(
  url: string | string[],
  o: Parameters<typeof connect>[1] = {},
): Promise<Client> {
  const client = await connect(url, { retryBackoffMs: 1, retryBackoffMaxMs: 5, ...o })
  open.push(client)
  return client
}

async function until(client: Client, type: string): Promise<void> {
  for await (const status of client.status()) if (status.type === type) return
  throw new Error(`closed before ${type}`)
}

/** An address where nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

describe('a client', () => {
  it('tries its URLs in turn', async () => {
    const broker = await startBroker()
    const client = await connectTo([`ws://127.0.0.1:${await freePort()}/`, broker.url])
    expect(client.currentStatus).toMatchObject({ type: 'open', url: broker.url, serverId: 'fake' })
  })

  it('gives up connecting in time, and names the address', async () => {
    const url = `ws://127.0.0.1:${await freePort()}/`
    await expect(connect(url, { connectTimeoutMs: 30 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining(url),
    })
    await expect(connect('http://x')).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
    const signal = AbortSignal.abort(new Error('no'))
    await expect(connect(url, { signal })).rejects.toThrow('no')
  })

  it('waits for an absent broker when it is lazy', async () => {
    const port = await freePort()
    const client = await connectTo(`ws://127.0.0.1:${port}/`, { lazy: true })
    const sent = client.producer().send('t', { value: 'v' })
    await until(client, 'recovering')
    const broker = await FakeBroker.start(port)
    open.unshift({ close: () => broker.stop() })
    expect((await sent).offset).toBe(0)
  })

  it('dials again after a loss, and says so', async () => {
    const broker = await startBroker()
    const client = await connectTo(broker.url)
    const types: string[] = []
    const watching = (async () => {
      for await (const { type } of client.status()) {
        types.push(type)
        if (type === 'recovering') await Promise.resolve()
      }
    })()
    broker.disconnect(1001, 'bye')
    await until(client, 'recovering')
    await client.admin().ping()
    await client.close()
    await watching
    expect(types).toEqual(['open', 'recovering', 'connecting', 'open', 'closed'])
  })

  it('starts nothing new on a connection that the broker is about to end', async () => {
    const broker = await startBroker()
    const client = await connectTo(broker.url)
    broker.push({ op: 'goaway' })
    await client.admin().ping()
    const ops: string[] = []
    broker.plan = op => {
      ops.push(op)
      return 'serve'
    }
    const sent = client.producer().send('t', { value: 'v' })
    await new Promise(resolve => setImmediate(resolve))
    expect(ops).toEqual([])
    broker.disconnect(1001)
    expect((await sent).offset).toBe(0)
    expect(broker.connections).toBe(2)
  })

  it('does not dial again after a policy close', async () => {
    const broker = await startBroker()
    const client = await connectTo(broker.url)
    const sent = client.producer().send('t', { value: 'v' }, { partition: 0 })
    broker.plan = () => 'silent'
    broker.disconnect(1008, 'BAD_FRAME: too deep')
    await until(client, 'closed')
    expect(client.currentStatus).toMatchObject({ type: 'closed', error: { code: 'BAD_FRAME' } })
    await expect(sent).rejects.toMatchObject({
      code: expect.stringMatching(/BAD_FRAME|OUTCOME_UNKNOWN/),
    })
    expect(() => client.producer()).toThrowError(expect.objectContaining({ code: 'BAD_FRAME' }))
    expect(broker.connections).toBe(1)
  })

  it('finds a silent peer by a ping that is not answered', async () => {
    const broker = await startBroker()
    const client = await connectTo(broker.url, { keepAliveMs: 10 })
    broker.mute = true
    await until(client, 'recovering')
    broker.mute = false
    await client.admin().ping()
    expect(broker.connections).toBeGreaterThan(1)
  })

  it('rejects everything after close, and ends readers and waiters', async () => {
    const broker = await startBroker()
    broker.log.create('t')
    const client = await connectTo(broker.url)
    const producer = client.producer()
    const admin = client.admin()
    const reader = client.read('t')
    await reader.opened()
    const next = reader[Symbol.asyncIterator]().next()
    await Promise.all([client.close(), client.close()])
    await expect(next).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' })
    await expect(producer.send('t', { value: 'v' })).rejects.toMatchObject({
      code: 'CONNECTION_CLOSED',
    })
    await expect(admin.ping()).rejects.toMatchObject({ code: 'CONNECTION_CLOSED' })
    expect(() => client.read('t')).toThrowError(
      expect.objectContaining({ code: 'CONNECTION_CLOSED' }),
    )
    expect(broker.peers).toBe(0)
  })

  it('reports a switch of the log whose answer was lost, without repeating it', async () => {
    const broker = await startBroker()
    const client = await connectTo(broker.url)
    expect(await client.admin().switchLog('memory')).toMatchObject({ opened: { spec: 'memory' } })
    broker.plan = op => (op === 'switchLog' ? 'dropAfter' : 'serve')
    await expect(client.admin().switchLog('file')).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
    })
    expect(broker.count('switchLog')).toBe(2)
  })

  it('creates a topic once although the answer was lost', async () => {
    const broker = await startBroker()
    const client = await connectTo(broker.url)
    let lost = 0
    broker.plan = op => (op === 'createTopic' && lost++ === 0 ? 'dropAfter' : 'serve')
    const created = await client.admin().createTopic({ topic: 't', partitions: 3 })
    expect(created).toEqual({ topic: 't', topicId: 1, partitions: 3, created: true })
    await expect(client.admin().createTopic({ topic: 't' })).rejects.toMatchObject({
      code: 'TOPIC_EXISTS',
    })
    expect((await client.admin().describeTopic('t')).partitions).toHaveLength(3)
  })
})

describe('a resume token', () => {
  it('keeps positions beyond 2^32 and refuses other texts', () => {
    const positions = [
      { topic: 'a.b-c_d', partition: 0, next: 2 ** 40 },
      { topic: 'a.b-c_d', partition: 11, next: 0 },
      { topic: 'z', partition: 3, next: 5 },
    ]
    expect(parseResumeToken(formatResumeToken(positions))).toEqual(positions)
    for (const bad of ['', 'x', 'lr1~a', 'lr1~a:0', 'lr1~a:0=-1', 'lr1~a:0=1;', 'lr1~:0=1']) {
      expect(() => parseResumeToken(bad)).toThrowError(
        expect.objectContaining({ code: 'INVALID_REQUEST' }),
      )
    }
  })
})

describe('a client that only reads', () => {
  it('reads and recovers as the full one does', async () => {
    const broker = await startBroker()
    broker.log.create('t')
    const client = await connectReader(broker.url, { retryBackoffMs: 1 })
    open.push(client)
    const reader = client.read('t', { as: 'bytes' })
    await reader.opened()
    broker.disconnect()
    const writer = await connectTo(broker.url)
    await writer.producer().send('t', { value: 'v' })
    for await (const { value } of reader) {
      expect(value).toEqual(new TextEncoder().encode('v'))
      break
    }
    await client.close()
    expect(() => client.read('t')).toThrowError(
      expect.objectContaining({ code: 'CONNECTION_CLOSED' }),
    )
  })
})

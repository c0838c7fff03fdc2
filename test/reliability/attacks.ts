// Attacks on the broker's port, each on connections of its own, and what has to come of it: `closed` by the broker, or `borne`, which means
// answered or ignored. What all of them leave behind is measured by hostile-frames.ts.

import { gzipSync } from 'node:zlib'
import { encodeBatch, type Frame, packFrame, type WireError, wireLimits } from '../../wire/index.ts'
import { sealBatch } from '../gateway/raw-client.ts'
import { RawSocket, webSocketFrame } from './raw-socket.ts'

export interface Attack {
  readonly name: string
  readonly wants: 'closed' | 'borne'
  /** @returns whether it came as wanted */
  readonly run: (port: number) => Promise<boolean>
}

const fill = (bytes: readonly number[], times: number): Buffer =>
  Buffer.concat(Array.from({ length: times }, () => Buffer.from(bytes)))
/** `{ op: <bytes> }` */
const withOp = (...parts: readonly Uint8Array[]): Buffer =>
  Buffer.concat([Buffer.from([0x81, 0xa2, 0x6f, 0x70]), ...parts])

/** One message, before and after the hello: the connection has to be closed. */
function message(name: string, payload: Uint8Array): Attack {
  return closing(name, [webSocketFrame(payload)])
}

/** Frames that end the connection. */
function closing(name: string, frames: readonly Uint8Array[]): Attack {
  return {
    name,
    wants: 'closed',
    run: async port => {
      const both = await Promise.all([RawSocket.upgrade(port), RawSocket.greeted(port)])
      for (const raw of both) for (const frame of frames) raw.write(frame)
      const ended = await Promise.all(both.map(raw => raw.until(() => raw.isRefused)))
      for (const raw of both) raw.destroy()
      return ended.every(Boolean)
    },
  }
}

/** HTTP that is none, or too much of it: no upgrade, no second answer, the connection ended. */
function http(name: string, text: (port: number) => string, answersMax = 1): Attack {
  return {
    name,
    wants: 'closed',
    run: async port => {
      const raw = await RawSocket.dial(port)
      raw.write(text(port))
      const ended = await raw.ends(15_000)
      const answers = raw.received.toString('latin1').split('HTTP/1.1 ').length - 1
      const isUpgraded = raw.received.includes('HTTP/1.1 101')
      raw.destroy()
      return ended && answers <= answersMax && !isUpgraded
    },
  }
}

/** What the broker bears: it may answer or close, and `work` decides whether it did well. */
function borne(name: string, work: (port: number) => Promise<boolean>): Attack {
  return { name, wants: 'borne', run: work }
}

/** The code of the error that a request was answered with; `ok` when with none. */
const codeOf = ({ error }: Frame): string =>
  error === undefined ? 'ok' : (error as WireError).code

/** Waits for the replies to all of `ids`. @returns the one to each, or undefined when one has none, or two */
async function repliesTo(
  raw: RawSocket,
  ids: readonly number[],
): Promise<readonly Frame[] | undefined> {
  await raw.until(() => raw.replies.length >= ids.length || raw.isRefused, 20_000)
  const { replies } = raw
  const byId = new Map(replies.map(reply => [reply.id, reply]))
  const found = ids.map(id => byId.get(id)).filter(reply => reply !== undefined)
  return found.length === ids.length && replies.length === ids.length ? found : undefined
}

const fourIds = (first: number): readonly number[] => [first, first + 1, first + 2, first + 3]

/** Four times the batch on each of four connections, to a compacted topic: each is refused with `code`, which says `why`. */
function produced(name: string, batch: () => Uint8Array, code: string, why = code): Attack {
  return borne(name, async port => {
    const some = await Promise.all(Array.from({ length: 4 }, () => RawSocket.greeted(port)))
    const config = { 'cleanup.policy': 'compact' }
    for (const raw of some) {
      raw.message(
        packFrame({ op: 'createTopic', id: 2, topic: 'bombs', ifNotExists: true, config }),
      )
      for (const id of fourIds(3))
        raw.message(packFrame({ op: 'produce', id, topic: 'bombs', partition: 0, batch: batch() }))
    }
    const answered = await Promise.all(some.map(raw => repliesTo(raw, [2, ...fourIds(3)])))
    for (const raw of some) raw.destroy()
    const isRefused = (reply: Frame): boolean =>
      codeOf(reply) === code && JSON.stringify(reply.error).includes(why)
    // A write that comes while much is under way may be shed before anybody looks into it.
    const isShed = (reply: Frame): boolean => codeOf(reply) === 'THROTTLED'
    return (
      answered.every(([topic, ...batches] = []) => {
        if (topic === undefined || codeOf(topic) !== 'ok') return false
        return batches.every(reply => isRefused(reply) || isShed(reply))
      }) && answered.some(replies => replies?.some(isRefused) === true)
    )
  })
}

/** A batch is written, then read four times on each of four connections, record by record: every reply `isRight`. */
function readOneByOne(
  name: string,
  batch: () => Uint8Array,
  from: number,
  isRight: (reply: Frame) => boolean,
): Attack {
  return borne(name, async port => {
    const some = await Promise.all(Array.from({ length: 4 }, () => RawSocket.greeted(port)))
    const [writer] = some as [RawSocket]
    const topic = name.replaceAll(/[^a-z]+/g, '-')
    writer.message(packFrame({ op: 'createTopic', id: 2, topic, ifNotExists: true }))
    writer.message(packFrame({ op: 'produce', id: 3, topic, partition: 0, batch: batch() }))
    const written = await repliesTo(writer, [2, 3])
    writer.received = Buffer.alloc(0)
    for (const raw of some)
      for (const id of fourIds(4))
        raw.message(packFrame({ op: 'fetch', id, topic, partition: 0, from, format: 'records' }))
    const answered = await Promise.all(some.map(raw => repliesTo(raw, fourIds(4))))
    for (const raw of some) raw.destroy()
    return (
      written?.every(reply => codeOf(reply) === 'ok') === true &&
      answered.every(replies => replies?.every(isRight) === true)
    )
  })
}

const garbage = Buffer.alloc(1024, 0xc1)
const host = (port: number): string => `Host: localhost:${port}\r\n`
const upgradeHead = (port: number): string =>
  `GET / HTTP/1.1\r\n${host(port)}Upgrade: websocket\r\nConnection: Upgrade\r\n`

const lies: readonly Attack[] = [
  message('binary of 4 GiB declared', withOp(Buffer.from([0xc6, 0xff, 0xff, 0xff, 0xff, 1]))),
  message('text of 4 GiB declared', withOp(Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff, 1]))),
  message('array of 2^32 - 1 declared', withOp(Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]))),
  message('map of 2^32 - 1 declared', Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff])),
  message('nest bomb of 72 KB', withOp(fill([0xdc, 0xff, 0xff], 24_000))),
  message('60,000 levels', withOp(fill([0x91], 60_000))),
  message('1 MiB of empty maps', withOp(Buffer.from([0xdd, 0, 0x10, 0, 0]), fill([0x80], 1 << 20))),
  message('RegExp extension', withOp(Buffer.from([0xc7, 6, 0x78]), Buffer.from('(a+)+$'))),
  message('record definition', withOp(Buffer.from([0xd4, 0x72, 0x40]))),
  message('pointer extension', withOp(Buffer.from([0xd6, 0x70, 0, 0, 0, 1]))),
  message('timestamp of 96 bits', withOp(Buffer.from([0xc7, 12, 0xff]), Buffer.alloc(12))),
  message('keys that are no strings', Buffer.from([0x81, 1, 1])),
  message('nothing', Buffer.alloc(0)),
  message('1 KiB that is no msgpack', garbage),
  message('more than a frame may have', Buffer.alloc((2 << 20) + 1)),
]

const framing: readonly Attack[] = [
  closing('unmasked', [webSocketFrame(garbage, { masked: false })]),
  closing('deflate that was not negotiated', [webSocketFrame(garbage, { reserved: 4 })]),
  closing('RSV2', [webSocketFrame(garbage, { reserved: 2 })]),
  closing('RSV3', [webSocketFrame(garbage, { reserved: 1 })]),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map(opcode =>
    closing(`reserved opcode ${opcode}`, [webSocketFrame(Buffer.alloc(2), { opcode })]),
  ),
  closing('text', [webSocketFrame(Buffer.from('{"op":"ping"}'), { opcode: 1 })]),
  closing('text of overlong UTF-8', [webSocketFrame(Buffer.from([0xc0, 0xaf]), { opcode: 1 })]),
  closing('2^63 bytes declared', [webSocketFrame(garbage, { declared: 2n ** 63n })]),
  closing('2^53 bytes declared', [webSocketFrame(garbage, { declared: 2n ** 53n })]),
  closing('1 GiB declared', [webSocketFrame(garbage, { declared: 1 << 30 })]),
  closing('ping of 126 bytes', [webSocketFrame(Buffer.alloc(126), { opcode: 9 })]),
  closing('ping in fragments', [webSocketFrame(Buffer.alloc(1), { opcode: 9, fin: false })]),
  closing('continuation of nothing', [webSocketFrame(garbage, { opcode: 0 })]),
  closing('message inside a message', [
    webSocketFrame(garbage, { fin: false }),
    webSocketFrame(garbage, {}),
  ]),
  closing('close with half a code', [webSocketFrame(Buffer.from([3]), { opcode: 8 })]),
  closing('close with code 1005', [webSocketFrame(Buffer.from([3, 0xed]), { opcode: 8 })]),
  closing('close with overlong UTF-8', [
    webSocketFrame(Buffer.from([3, 0xe8, 0xc0, 0xaf]), { opcode: 8 }),
  ]),
  closing('5,000 fragments', [
    webSocketFrame(Buffer.from([0x81]), { fin: false }),
    fill([...webSocketFrame(Buffer.from([0]), { opcode: 0, fin: false })], 5000),
  ]),
  closing('20,000 pings', [fill([...webSocketFrame(Buffer.alloc(125), { opcode: 9 })], 20_000)]),
  closing('300,000 empty pings', [
    fill([...webSocketFrame(Buffer.alloc(0), { opcode: 9 })], 300_000),
  ]),
  closing('50,000 pongs', [fill([...webSocketFrame(Buffer.alloc(125), { opcode: 10 })], 50_000)]),
  closing('300,000 empty pongs', [
    fill([...webSocketFrame(Buffer.alloc(0), { opcode: 10 })], 300_000),
  ]),
  closing('300,000 empty messages', [fill([...webSocketFrame(Buffer.alloc(0))], 300_000)]),
  closing('100,000 empty fragments', [
    webSocketFrame(Buffer.alloc(0), { fin: false }),
    fill([...webSocketFrame(Buffer.alloc(0), { opcode: 0, fin: false })], 100_000),
  ]),
]

const overHttp: readonly Attack[] = [
  http('URL of 100 KB', port => `GET /${'a'.repeat(100_000)} HTTP/1.1\r\n${host(port)}\r\n`),
  http('20,000 headers', port => `${upgradeHead(port)}${'x: y\r\n'.repeat(20_000)}\r\n`),
  http('protocol header of 64 KB', port => `${upgradeHead(port)}Sec-WebSocket-Protocol: ${'a,'.repeat(32_000)}\r\n\r\n`),
  http('two lengths', port => `GET /health HTTP/1.1\r\n${host(port)}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd`),
  http('length and chunks', port => `POST /health HTTP/1.1\r\n${host(port)}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\n${host(port)}\r\n`),
  http('chunked, and not', port => `POST / HTTP/1.1\r\n${host(port)}Transfer-Encoding: xchunked\r\n\r\nGET /metrics HTTP/1.1\r\n${host(port)}\r\n`),
  http('a header that is folded', port => `GET /health HTTP/1.1\r\n${host(port)}X: a\r\n b\r\n\r\n`),
  http('a chunk of 2^64', port => `POST / HTTP/1.1\r\n${host(port)}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n`, 2),
  http('no key', port => `${upgradeHead(port)}Sec-WebSocket-Version: 13\r\n\r\n`),
  http('version 99', port => `${upgradeHead(port)}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 99\r\n\r\n`),
  http('not HTTP', () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.padEnd(600, '\0')),
  http('another host', () => `GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n`),
] // biome-ignore format: one request a line

const floods: readonly Attack[] = [
  borne('20,000 pings, none of the pongs read', async port => {
    const raw = await RawSocket.greeted(port)
    raw.socket.pause()
    raw.write(fill([...webSocketFrame(Buffer.alloc(125), { opcode: 9 })], 20_000))
    await raw.drained(2000)
    raw.destroy()
    return true
  }),
  borne('300,000 empty pings on each of 10 connections', async port => {
    const some = await Promise.all(Array.from({ length: 10 }, () => RawSocket.greeted(port)))
    const pings = fill([...webSocketFrame(Buffer.alloc(0), { opcode: 9 })], 300_000)
    for (const raw of some) raw.write(pings)
    const ended = await Promise.all(some.map(raw => raw.until(() => raw.isRefused)))
    for (const raw of some) raw.destroy()
    return ended.every(Boolean)
  }),
  borne('50,000 requests, no reply read', async port => {
    const raw = await RawSocket.greeted(port)
    raw.socket.pause()
    raw.write(fill([...webSocketFrame(packFrame({ op: 'describeBroker', id: 7 }))], 50_000))
    await raw.drained(2000)
    raw.destroy()
    return true
  }),
  borne('500 hellos on one connection', async port => {
    const raw = await RawSocket.greeted(port)
    raw.write(fill([...webSocketFrame(packFrame({ op: 'hello', id: 1, protocol: 1, client: 'x' }))], 500))
    await raw.until(() => raw.receivedBytes > 500)
    raw.destroy()
    return raw.receivedBytes > 0
  }),
  borne('200 connections that say hello and go', async port => {
    for (let i = 0; i < 10; i++) {
      const some = await Promise.all(Array.from({ length: 20 }, () => RawSocket.greeted(port)))
      for (const raw of some) raw.destroy()
    }
    return true
  }),
  borne('100 connections cut off in a frame of 2 MiB', async port => {
    for (let i = 0; i < 10; i++) {
      const some = await Promise.all(Array.from({ length: 10 }, () => RawSocket.greeted(port)))
      for (const raw of some) raw.frame(Buffer.alloc(256 << 10), { declared: 2 << 20 })
      await Promise.all(some.map(raw => raw.drained(2000)))
      for (const raw of some) raw.destroy()
    }
    return true
  }),
  borne('keys that objects inherit', async port => {
    const raw = await RawSocket.greeted(port)
    const evil = { op: 'createTopic', id: 5, topic: 'inherits', ifNotExists: true, constructor: { prototype: { admin: true } }, toString: 'x', valueOf: 'y' }
    const packed = Buffer.from(packFrame({ ...evil, zzproto__: { admin: true } }))
    packed.write('__proto__', packed.indexOf('zzproto__'), 'latin1')
    raw.message(packed)
    const isAnswered = await raw.until(() => raw.receivedBytes > 240)
    raw.destroy()
    return isAnswered
  }),
  borne('deflate offered, bomb sent', async port => {
    const raw = await RawSocket.upgrade(port, 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n')
    raw.frame(Buffer.alloc(60_000, 0xaa), { reserved: 4 })
    const ended = await raw.ends()
    raw.destroy()
    return ended
  }),
  produced('batches of 48 MiB behind 48 KB, to a compacted topic', bomb, 'BATCH_CORRUPT'),
  produced('records of 48 MiB behind 48 KB, to a compacted topic', largeRecord, 'INVALID_RECORD'),
  produced('7 million records behind 48 KB', () => manyRecords(millions), 'MESSAGE_TOO_LARGE', 'batchElementsMax'),
  produced('7 million records behind 48 KB that say they are fewer, to a compacted topic', () => manyRecords(elementsMax), 'BATCH_CORRUPT'),
  produced('16 million headers behind 48 KB, to a compacted topic', manyHeaders, 'BATCH_CORRUPT', 'batchElementsMax'),
  readOneByOne('records of 48 MiB behind 48 KB, read one by one', largeRecord, 0, reply => codeOf(reply) === 'MESSAGE_TOO_LARGE'),
  // From its end: the records before it are opened, and not handed out.
  readOneByOne('as many records as a batch may have behind 2 KB, read one by one', () => manyRecords(elementsMax, elementsMax), wireLimits.batchElementsMax - 10, ({ items }) => Array.isArray(items) && items.length > 0),
] // biome-ignore format: long requests

const bombBytes = 48 << 20
const elementsMax = wireLimits.batchElementsMax
/** A record with a key of one character and nothing else. */
const tinyRecord = [0x94, 0xc4, 1, 0x61, 0xc0, 0xc0, 0]
const millions = Math.floor((bombBytes - 5) / tinyRecord.length)

const made = new Map<string, Uint8Array>()

/** Made once, however often it is sent. */
function once(name: string, make: () => Uint8Array): Uint8Array {
  const batch = made.get(name) ?? make()
  made.set(name, batch)
  return batch
}

/** A sealed batch whose body decompresses to 48 MiB of what is no record. */
function bomb(): Uint8Array {
  return once('bomb', () => compressed(Buffer.alloc(bombBytes)))
}

/** A good batch of one record of 48 MiB, without a key. */
function largeRecord(): Uint8Array {
  return once('large', () => {
    const body = Buffer.alloc(bombBytes)
    // An array of one record of four fields: nil, a binary as long as it may be, nil, 0.
    body.set([0x91, 0x94, 0xc0, 0xc6])
    body.writeUInt32BE(bombBytes - 10, 4)
    body.set([0xc0, 0], bombBytes - 2)
    return compressed(body)
  })
}

/** A batch of so many tiny records, of which the header says that there are `claimed`. */
function manyRecords(claimed: number, records = millions): Uint8Array {
  return once(`${claimed} of ${records}`, () => {
    const body = Buffer.alloc(5 + records * tinyRecord.length)
    body.fill(Buffer.from(tinyRecord), 5)
    body[0] = 0xdd
    body.writeUInt32BE(records, 1)
    return compressed(body, claimed)
  })
}

/** A batch of one record with a key and 48 MiB of headers, each of three bytes. */
function manyHeaders(): Uint8Array {
  return once('headers', () => {
    const headers = Math.floor((bombBytes - 12) / 3)
    const head = [0x91, 0x94, 0xc4, 1, 0x61, 0xc0, 0xdd]
    const body = Buffer.alloc(head.length + 4 + headers * 3 + 1)
    body.set(head)
    body.writeUInt32BE(2 * headers, head.length)
    // An empty name and an empty value.
    body.fill(Buffer.from([0xa0, 0xc4, 0]), head.length + 4, body.length - 1)
    return compressed(body)
  })
}

function compressed(raw: Buffer, count = 1): Uint8Array {
  const body = gzipSync(raw, { level: 9 })
  const batch = Buffer.concat([encodeBatch([{ value: 'x' }], { now: 1 }).subarray(0, 64), body])
  batch[8] = 1
  batch[9] = 0
  batch.writeUInt32BE(body.length, 12)
  for (const at of [16, 20]) batch.writeUInt32BE(count, at)
  batch.writeUInt32BE(raw.length, 24)
  return sealBatch(batch)
}

export const attacks: readonly Attack[] = [...lies, ...framing, ...overHttp, ...floods]

// Frames that break the rules: one coded answer, the connection closed with 1008, and nobody else notices.

import {
  array,
  assert,
  asyncProperty,
  constantFrom,
  integer,
  oneof,
  string,
  uint8Array,
} from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { scrape } from '../metrics-page.ts'
import { type Frame, pack, RawClient } from './raw-client.ts'

let broker: RunningBroker
let bystander: RawClient
let ended = false

beforeAll(async () => {
  broker = await startBroker({ loglet: 'memory', port: 0, frameBytesMax: 2 << 20 })
  bystander = await RawClient.connect(broker.url)
  void bystander.closed.then(() => {
    ended = true
  })
})

afterAll(async () => {
  // The process lives, and the connection that was there from the start was never touched.
  await bystander.call('ping')
  expect(ended).toBe(false)
  const text = await scrape(broker)
  expect(text).toContain('logloom_ws_connections 1\n')
  expect(text).toMatch(/logloom_requests_total\{api="admin",code="INTERNAL"\} 0\n/)
  await bystander.close()
  await broker.close()
})

const repeat = (bytes: readonly number[], times: number): number[] =>
  Array.from({ length: times }, () => bytes).flat()
const ping = pack({ op: 'ping', id: 1 })
/** `{ op: <bytes>` … */
const withOp = (...bytes: readonly number[]): Uint8Array =>
  Uint8Array.from([0x81, 0xa2, 0x6f, 0x70, ...bytes])

const badFrames: readonly (readonly [string, Uint8Array, RegExp])[] = [
  ['is empty', new Uint8Array(0), /empty/],
  ['is cut off', ping.subarray(0, ping.length - 1), /ends after/],
  ['has bytes after its end', Uint8Array.from([...ping, 0xc0]), /after the end/],
  ['is an array', pack(['ping', 1]), /map/],
  ['is a number', Uint8Array.from([7]), /map/],
  ['has a key that is no string', Uint8Array.from([0x81, 0x01, 0x02]), /key/],
  ['is nested too deep', withOp(...repeat([0x91], 20), 0xc0), /depth|deep/],
  ['is nested ten thousand levels deep', withOp(...repeat([0x91], 10_000), 0xc0), /depth|deep/],
  ['has too many elements', withOp(0xdc, 0xff, 0xff, ...repeat([0xc0], 65_535)), /10000|10,000/],
  [
    'has elements multiplied by nesting',
    withOp(0x94, ...repeat([0xdc, 0x0f, 0xff, ...repeat([0xc0], 4095)], 4)),
    /10000|10,000/,
  ],
  ['claims an array of 2^32 − 1 elements', withOp(0xdd, 0xff, 0xff, 0xff, 0xff), /./],
  ['claims a map of 2^32 − 1 pairs', withOp(0xdf, 0xff, 0xff, 0xff, 0xff), /./],
  ['claims 4 GiB of binary', withOp(0xc6, 0xff, 0xff, 0xff, 0xff, 1), /./],
  ['claims 4 GiB of text', withOp(0xdb, 0xff, 0xff, 0xff, 0xff, 1), /./],
  ['nests arrays of 65,535', withOp(...repeat([0xdc, 0xff, 0xff], 24_000)), /./],
  ['carries a foreign extension', withOp(0xd4, 0x78, 0x00), /extension/],
  ['carries a record definition', withOp(0xd4, 0x72, 0x40), /extension/],
  ['carries a pointer', withOp(0xd6, 0x70, 0, 0, 0, 1), /extension/],
  ['carries a timestamp extension', withOp(0xd6, 0xff, 0, 0, 0, 1), /extension/],
  ['uses the byte that msgpack never uses', withOp(0xc1), /./],
]

describe('a frame that', () => {
  for (const [name, bytes, why] of badFrames)
    it(`${name} is answered BAD_FRAME and closed with 1008`, async () => {
      const client = await RawClient.connect(broker.url)
      client.sendBytes(bytes)
      const { code, reason } = await client.closed
      expect(code).toBe(1008)
      expect(reason).toMatch(/^BAD_FRAME: /)
      expect(client.pushes).toHaveLength(1)
      const { id, error } = client.pushes[0] as { id: null; error: Frame }
      expect(id).toBeNull()
      expect(error).toMatchObject({ code: 'BAD_FRAME', retriable: false })
      expect(error['message']).toMatch(why)
      expect(error['hint']).toBeTypeOf('string')
      await bystander.call('ping')
    })

  it('is text is answered BAD_FRAME and closed with 1008', async () => {
    const client = await RawClient.connect(broker.url)
    client.sendText('{"op":"ping","id":1}')
    expect(await client.closed).toMatchObject({ code: 1008 })
    expect(client.pushes).toMatchObject([{ id: null, error: { code: 'BAD_FRAME' } }])
  })

  it('is larger than frameBytesMax closes the connection with 1009', async () => {
    const client = await RawClient.connect(broker.url)
    client.sendBytes(new Uint8Array((2 << 20) + 1))
    expect(await client.closed).toMatchObject({ code: 1009 })
    await bystander.call('ping')
  })

  it('is as large as frameBytesMax is read', async () => {
    const client = await RawClient.connect(broker.url)
    const empty = pack({ op: 'ping', id: 1, more: Buffer.alloc(70_000) }).length - 70_000
    const more = Buffer.alloc((2 << 20) - empty)
    expect(await client.request('ping', { more })).toEqual({ id: 2 })
    await client.close()
  })

  it('has a number beyond 2^53 is answered NUMBER_OUT_OF_RANGE and the connection lives', async () => {
    const client = await RawClient.connect(broker.url)
    const text = (word: string): number[] => [0xa0 + word.length, ...Buffer.from(word)]
    client.sendBytes(
      Buffer.concat([
        Uint8Array.from([0x84, ...text('op'), ...text('createTopic'), ...text('id'), 9]),
        Uint8Array.from([...text('topic'), ...text('a'), ...text('partitions'), 0xcf]),
        Uint8Array.from(repeat([0xff], 8)),
      ]),
    )
    await client.untilPushed(all => all.length > 0)
    expect(client.pushes).toMatchObject([{ error: { code: 'NUMBER_OUT_OF_RANGE' } }])
    await client.call('ping')
    await client.close()
  })
})

describe('any bytes', () => {
  const value = oneof(
    { depthSize: 'small' },
    integer(),
    string(),
    uint8Array({ maxLength: 20 }),
    constantFrom(null, true, -1, 2 ** 60, 1.5, {}, [], [[]], { a: 1 }),
  )
  const operation = constantFrom(
    'hello',
    'produce',
    'publish',
    'initProducer',
    'fetch',
    'subscribe',
    'credit',
    'unsubscribe',
    'createTopic',
    'deleteTopic',
    'alterTopic',
    'describeTopic',
    'listOffsets',
    'trimLog',
    'switchLog',
    'ping',
    'constructor',
    '__proto__',
    'toString',
  )
  const key = constantFrom(
    'topic',
    'partition',
    'partitions',
    'batch',
    'records',
    'batches',
    'from',
    'at',
    'credit',
    'sub',
    'bytes',
    'config',
    'spec',
    'lsn',
    'producer',
    'expect',
    'acks',
    'maxBytes',
    'format',
    'codecs',
    'producerId',
  )

  it('get an error or a close, never silence nor a broken broker', async () => {
    await assert(
      asyncProperty(uint8Array({ minLength: 1, maxLength: 200 }), async bytes => {
        const client = await RawClient.connect(broker.url)
        client.sendBytes(bytes)
        // Whatever they were: an answer to them, or to the ping behind them, or the end.
        const end = await Promise.race([client.call('ping').then(() => 'alive'), client.closed])
        if (end !== 'alive') expect(end).toMatchObject({ code: 1008 })
        client.ws.terminate()
        await bystander.call('ping')
      }),
      { numRuns: 200 },
    )
  })

  it('that are a frame with fields of any kind get one answer', async () => {
    const client = await RawClient.connect(broker.url)
    await assert(
      asyncProperty(
        operation,
        array(oneof(key), { maxLength: 6 }),
        array(value, { minLength: 6, maxLength: 6 }),
        async (op, keys, values) => {
          const fields = Object.fromEntries(keys.map((name, i) => [name, values[i]]))
          if (op === 'credit') {
            client.send({ op, ...fields })
            await client.call('ping')
            return
          }
          const reply = await client.request(op, { ...fields, maxWaitMs: 0, acks: null })
          if (reply['error'] !== undefined) {
            const { code, message } = reply['error'] as Record<string, string>
            expect(code).not.toBe('INTERNAL')
            expect(message?.length).toBeGreaterThan(10)
          }
        },
      ),
      { numRuns: 500 },
    )
    await client.close()
  })
})

describe('the first frame', () => {
  it('that is no hello is answered HELLO_REQUIRED and closed with 1008', async () => {
    const client = await RawClient.dial(broker.url)
    expect(await client.refusal('ping')).toMatchObject({ code: 'HELLO_REQUIRED' })
    expect(await client.closed).toMatchObject({
      code: 1008,
      reason: expect.stringMatching(/^HELLO_REQUIRED/),
    })
  })

  it('with another protocol number is answered UNSUPPORTED_PROTOCOL, naming those that are spoken', async () => {
    const client = await RawClient.dial(broker.url)
    expect(await client.refusal('hello', { protocol: 99, client: 'x' })).toMatchObject({
      code: 'UNSUPPORTED_PROTOCOL',
      supported: [1],
    })
    expect(await client.closed).toMatchObject({ code: 1008 })
  })

  it('that does not come in time is not waited for', async () => {
    const impatient = await startBroker({ loglet: 'memory', port: 0, helloTimeoutMs: 50 })
    const client = await RawClient.dial(impatient.url)
    const { code, reason } = await client.closed
    expect(code).toBe(1008)
    expect(reason).toMatch(/^HELLO_REQUIRED: .*50 ms \(helloTimeoutMs\)/)
    await impatient.close()
  })
})

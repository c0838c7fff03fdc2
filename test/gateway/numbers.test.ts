// Integers on the wire: any width, float64 when integral, exact up to 2^53 (protocol.md 1.1).

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Frame, pack, RawClient } from './raw-client.ts'

let broker: RunningBroker
let client: RawClient

beforeAll(async () => {
  broker = await startBroker({ loglet: 'memory', port: 0 })
  client = await RawClient.connect(broker.url)
})

afterAll(async () => {
  await client.close()
  await broker.close()
})

const float64 = (n: number): Buffer => {
  const bytes = Buffer.alloc(9, 0xcb)
  bytes.writeDoubleBE(n, 1)
  return bytes
}
const uint64 = (n: number): Buffer => {
  const bytes = Buffer.alloc(9, 0xcf)
  bytes.writeBigUInt64BE(BigInt(n), 1)
  return bytes
}
const int64 = (n: number): Buffer => {
  const bytes = Buffer.alloc(9, 0xd3)
  bytes.writeBigInt64BE(BigInt(n), 1)
  return bytes
}

describe('numbers', () => {
  it('are taken in any width, and as float64 when integral', async () => {
    await client.call('publish', { records: [{ topic: 'widths', value: 'v' }] })
    const id = 1_000_000
    for (const [i, number] of [float64, uint64, int64].entries()) {
      client.sendBytes(
        Buffer.concat([
          Buffer.from([0x85]),
          pack('op'),
          pack('fetch'),
          pack('id'),
          number(id + i),
          pack('topic'),
          pack('widths'),
          pack('partition'),
          number(0),
          pack('from'),
          number(0),
        ]),
      )
      const pushes = await client.untilPushed(all => all.some(p => p['id'] === id + i))
      expect(pushes.find(p => p['id'] === id + i)).toMatchObject({ next: 1, end: 1 })
    }
  })

  it('that are no integers, or too large, are refused by name', async () => {
    const ask = (from: unknown): Promise<unknown> =>
      client.refusal('fetch', { topic: 'widths', partition: 0, from })
    for (const from of [0.5, 2 ** 53, 2n ** 63n, 1e300, Number.NaN])
      expect(await ask(from), String(from)).toMatchObject({ code: 'NUMBER_OUT_OF_RANGE' })
  })
})

describe('offsets from 2^32 up', () => {
  it('are sent as 64-bit integers and taken as such or as float64', async () => {
    const data = await mkdtemp(join(tmpdir(), 'logloom-numbers-'))
    try {
      // A volatile range that is lost raises the offsets by 2^32 (protocol.md 7.3).
      const first = await startBroker({ data, port: 0, loglet: 'memory' })
      const before = await RawClient.connect(first.url)
      await before.call('publish', { records: [{ topic: 'jump', value: 'forgotten' }] })
      await before.close()
      await first.close()
      const second = await startBroker({ data, port: 0, loglet: 'memory' })
      const after = await RawClient.connect(second.url)
      const { offsets } = await after.call('publish', {
        records: [{ topic: 'jump', value: 'kept' }],
      })
      const offset = (offsets as Frame[])[0]?.['offset'] as number
      expect(offset).toBeGreaterThanOrEqual(2 ** 32)
      // msgpackr packs a number of this size as float64 and a bigint as a 64-bit integer: libraries do either.
      for (const from of [offset, BigInt(offset)]) {
        const message = new Promise<Buffer>(resolve => {
          after.ws.once('message', data => resolve(data as Buffer))
        })
        const reply = await after.call('fetch', { topic: 'jump', partition: 0, from })
        expect(reply).toMatchObject({ items: [{ offset }], next: offset + 1, end: offset + 1 })
        const bytes = await message
        const isInt64 = [uint64, int64].some(encode =>
          bytes.includes(Buffer.concat([pack('next'), encode(offset + 1)])),
        )
        expect(isInt64).toBe(true)
        expect(bytes.includes(float64(offset + 1))).toBe(false)
      }
      await after.close()
      await second.close()
    } finally {
      await rm(data, { recursive: true, force: true })
    }
  })
})

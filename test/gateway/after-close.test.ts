// A connection that the broker has closed, whatever for: of what its client sends then, nothing but its close frame is taken apart.

import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { eventSubprotocol } from '../../broker/gateway/cloud-events/event-request.ts'
import { RawSocket, webSocketFrame } from '../reliability/raw-socket.ts'

let broker: RunningBroker
let port = 0
const emit = vi.spyOn(WebSocket.prototype, 'emit')
const seen = (event: string): number => emit.mock.calls.filter(([name]) => name === event).length

beforeEach(async () => {
  broker = await startBroker({ loglet: 'memory', port: 0, drainMs: 5000 })
  port = Number(new URL(broker.url).port)
})

afterEach(async () => {
  await broker.close()
})

const pong = webSocketFrame(new Uint8Array(), { opcode: 10 })
const pongs = Buffer.concat(Array.from({ length: 20_000 }, () => pong))
const closeFrame = webSocketFrame(Buffer.from([3, 232]), { opcode: 8 })

/** Sends many frames, and then the close frame, once the broker has closed. */
async function flood(raw: RawSocket): Promise<void> {
  expect(await raw.until(() => raw.isRefused)).toBe(true)
  expect(raw.isClosed).toBe(false)
  emit.mockClear()
  raw.write(pongs)
  raw.write(closeFrame)
  expect(await raw.ends()).toBe(true)
  await expect.poll(() => seen('close')).toBeGreaterThan(0)
  expect(emit.mock.calls.find(([name]) => name === 'close')?.[1]).toBe(1000)
  expect(seen('pong')).toBe(0)
}

it('a client that was told that the broker goes away', async () => {
  const raw = await RawSocket.greeted(port)
  const stopped = broker.close()
  await flood(raw)
  await stopped
})

it('a reader of events that sent a message', async () => {
  const raw = await RawSocket.upgrade(
    port,
    `Sec-WebSocket-Protocol: ${eventSubprotocol}\r\n`,
    '/topics/none/events',
  )
  raw.frame(Buffer.from('a message'), { opcode: 1 })
  await flood(raw)
})

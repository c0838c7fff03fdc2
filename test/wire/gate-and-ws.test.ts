// ws behind the gate tells what ws alone tells, in the same order: whatever frames come, however they are cut, and whenever somebody stops reading.

import {
  array,
  assert,
  asyncProperty,
  boolean,
  constantFrom,
  integer,
  oneof,
  record,
} from 'fast-check'
import type { IncomingMessage } from 'node:http'
import { Duplex } from 'node:stream'
import { describe, it, expect } from 'vitest'
import { WebSocketServer } from 'ws'
import { createSocketServer } from '../../wire/server.ts'
import { webSocketFrame } from '../reliability/raw-socket.ts'

const frameBytesMax = 100_000
/** As the gate's server has them; the types of ws do not know them yet. */
const limits = { maxFragments: 1024, maxBufferedChunks: 16_384 }
const request = {
  method: 'GET',
  headers: {
    upgrade: 'websocket',
    connection: 'upgrade',
    'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    'sec-websocket-version': '13',
  },
  socket: {},
} as unknown as IncomingMessage

/** A frame, or many of a kind. */
interface Some {
  readonly opcode: number
  readonly bytes: number
  readonly fin: boolean
  readonly reserved: number
  readonly masked: boolean
  readonly times: number
}

const usual = record<Some>({
  opcode: constantFrom(2, 2, 2, 9, 10),
  bytes: constantFrom(0, 1, 20, 125),
  fin: constantFrom(true),
  reserved: constantFrom(0),
  masked: constantFrom(true),
  times: constantFrom(1, 1, 3, 300),
})
const large = record<Some>({
  opcode: constantFrom(2),
  bytes: constantFrom(126, 20_000, 65_535, 65_536, 99_999),
  fin: constantFrom(true),
  reserved: constantFrom(0),
  masked: constantFrom(true),
  times: constantFrom(1, 2),
})
/** Fragments, texts, closes, and what is against the rules. */
const odd = record<Some>({
  opcode: constantFrom(0, 0, 1, 2, 3, 8, 9, 11),
  bytes: constantFrom(0, 1, 2, 5, 126, 100_001),
  fin: boolean(),
  reserved: constantFrom(0, 0, 0, 4),
  masked: constantFrom(true, true, true, false),
  times: constantFrom(1, 1, 2),
})
const frames = array(
  oneof(
    { weight: 6, arbitrary: usual },
    { weight: 2, arbitrary: large },
    { weight: 1, arbitrary: odd },
  ),
  { maxLength: 12 },
)
/** Lengths of chunks, used again and again. */
const cuts = array(oneof(integer({ min: 1, max: 600 }), integer({ min: 1, max: 65_536 })), {
  minLength: 1,
  maxLength: 12,
})
/** Whether reading is stopped at an event, in turn. */
const stops = array(boolean(), { minLength: 1, maxLength: 7 })

function bytesOf(list: readonly Some[]): Buffer {
  let seed = 1
  return Buffer.concat(
    list.flatMap(({ opcode, bytes, times, ...shape }) =>
      // ws ends whoever has too many pongs coming at a time.
      Array.from({ length: opcode === 9 ? Math.min(times, 3) : times }, () => {
        const code = opcode === 8 && bytes >= 2 ? [3, 232] : []
        const payload = Buffer.alloc(bytes, 97 + (seed++ % 26))
        payload.set(code.slice(0, bytes))
        return webSocketFrame(payload, { opcode, ...shape })
      }),
    ),
  )
}

interface Told {
  readonly tell: (event: string) => void
  readonly pause: () => void
  readonly resume: () => void
}

/** Sends the bytes into the stream, then its end, when all was read or hastily right behind; resolves with all that was told when the socket is closed. */
async function toldBy(
  bytes: Buffer,
  lengths: readonly number[],
  pauses: readonly boolean[],
  isHasty: boolean,
  attach: (
    stream: Duplex,
    head: Buffer,
    tell: (event: string) => void,
  ) => Pick<Told, 'pause' | 'resume'>,
): Promise<readonly string[]> {
  const told: string[] = []
  const stream = new Duplex({ read: () => {}, write: (_chunk, _encoding, done) => done() })
  stream.on('error', () => {})
  let events = 0
  const first = lengths[0] as number
  const closed = new Promise<void>(resolve => {
    const socket = attach(stream, bytes.subarray(0, first), event => {
      told.push(event)
      if (event.startsWith('close')) resolve()
      else if (pauses[events++ % pauses.length] === true) {
        socket.pause()
        setImmediate(() => socket.resume())
      }
    })
  })
  for (let at = first, i = 1; at < bytes.length; i++) {
    const end = at + (lengths[i % lengths.length] as number)
    stream.push(bytes.subarray(at, end))
    at = end
    if (i % 3 === 0) await new Promise(resolve => setImmediate(resolve))
  }
  for (let calm = isHasty ? 8 : 0; calm < 8 && !stream.destroyed; calm++) {
    if (stream.readableLength > 0 || stream.isPaused()) calm = 0
    await new Promise(resolve => setImmediate(resolve))
  }
  stream.push(null)
  await closed
  return told
}

const short = (data: Uint8Array): string => `${data.length} ${data[0] ?? ''}`

function alone(
  stream: Duplex,
  head: Buffer,
  tell: (event: string) => void,
): Pick<Told, 'pause' | 'resume'> {
  let found: Pick<Told, 'pause' | 'resume'> | undefined
  const server = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: frameBytesMax,
    clientTracking: false,
    ...limits,
  })
  server.handleUpgrade(request, stream, head, ws => {
    found = ws
    ws.binaryType = 'nodebuffer'
    ws.on('message', (data, isBinary) =>
      tell(isBinary ? `message ${short(data as Buffer)}` : 'text'),
    )
    ws.on('ping', () => tell('ping'))
    ws.on('pong', () => tell('pong'))
    ws.on('error', () => tell('fault'))
    ws.on('close', code => tell(`close ${code}`))
  })
  if (found === undefined) throw new Error('not upgraded')
  return found
}

function gated(
  stream: Duplex,
  head: Buffer,
  tell: (event: string) => void,
): Pick<Told, 'pause' | 'resume'> {
  let found: Pick<Told, 'pause' | 'resume'> | undefined
  const server = createSocketServer({
    frameBytesMax,
    verify: () => ({ ok: true }),
    onSocket: socket => {
      found = socket
      socket.onMessage = data => tell(`message ${short(data)}`)
      socket.onText = () => tell('text')
      socket.onPing = () => tell('ping')
      socket.onPong = () => tell('pong')
      socket.onFault = () => tell('fault')
      socket.onClose = code => tell(`close ${code}`)
    },
  })
  server.handleUpgrade(request, stream, head)
  if (found === undefined) throw new Error('not upgraded')
  return found
}

describe('ws behind the gate', () => {
  it('tells what ws alone tells', async () => {
    await assert(
      asyncProperty(frames, cuts, stops, boolean(), async (list, lengths, pauses, isHasty) => {
        const bytes = bytesOf(list)
        const expected = await toldBy(bytes, lengths, [false], isHasty, alone)
        expect(await toldBy(bytes, lengths, [false], isHasty, gated)).toEqual(expected)
        expect(await toldBy(bytes, lengths, pauses, isHasty, gated)).toEqual(expected)
      }),
      { numRuns: 150, seed: 20 },
    )
  })
})

// The SDK against a server that means harm: a reader, members of a group and of a share group and a producer on one connection, and in place of the broker the input.
//
// An input is frames, each behind its length as u16. `answer: OP` makes a frame the reply to a request of that operation that waits; `sub` and
// `memberId: "M"` stand for what the client has. What is not answered by the input is answered as a broker would.
//
// Rules: nothing is thrown out of the socket's handler, no rejection is left over; what the application hears is records of batches that are whole,
// and errors of one class; the client goes on: it dials again, and what was ended can be begun anew.

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { Client } from '../../../client/client.ts'
import type { Connection } from '../../../client/connection.ts'
import type { Link } from '../../../client/link.ts'
import { openConnection } from '../../../client/open-connection.ts'
import {
  batchHeaderBytes,
  checkBatch,
  decodeBatchSync,
  readBatchHeader,
} from '../../../wire/batch.ts'
import { crc32 } from '../../../wire/crc32.ts'
import { LogloomError } from '../../../wire/errors.ts'
import { type Frame, packFrame, unpackFrame } from '../../../wire/frame.ts'
import { wireLimits } from '../../../wire/limits.ts'
import { createSocketServer } from '../../../wire/server.ts'
import type { FrameSocket } from '../../../wire/socket.ts'
import { framesFrom, joined, sampleBatches } from '../server-frame-maker.ts'
import { Finding, type Target } from '../target.ts'
import { WorldHolder } from '../world-holder.ts'

const limits = { elementsMax: wireLimits.replyElementsMax }
/** Offsets only grow, and what has come to the last one reads no more. */
const perWorld = 250
const framesMax = 12
const closeMs = 10_000
const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** Replies to `hello`, in turn. */
const hellos: readonly Frame[] = [
  { serverId: 'f', version: '0', limits: { creditBytesMax: 2 ** 20 } },
  { serverId: 7, version: [], limits: 7, auth: 'x', brokers: 'no' },
  { limits: { creditBytesMax: 1 } },
  { limits: { creditBytesMax: -1, frameBytesMax: 'x', producerInFlightMax: 1e300 } },
  { limits: null, auth: { expiresInMs: 1e300 }, brokers: [null, 7, { url: 7 }, { url: 'no' }] },
]

const holder = new WorldHolder(() => World.open(), perWorld)
let greeted = 0

export const client: Target = {
  name: 'client',
  bytesMax: 8192,
  seeds: () => [
    joined([deliver(0, 2), deliver(2, 4)]),
    joined([
      {
        op: 'deliver',
        sub: 1,
        items: [{ gap: 'lost', offset: 0, next: 5 }],
        next: 5,
        bytes: 0,
        end: 9,
      },
    ]),
    joined([
      { op: 'end', sub: 1, error: { code: 'OFFSET_TRIMMED', message: 'm', start: 5, end: 9 } },
    ]),
    joined([
      {
        op: 'assignment',
        group: 'g',
        memberId: 'M',
        assigned: [],
        revoking: [{ topic: 't', partition: 0, generation: 1 }],
      },
    ]),
    joined([
      {
        op: 'assignment',
        group: 'g',
        memberId: 'M',
        error: { code: 'UNKNOWN_MEMBER', message: 'm' },
      },
    ]),
    joined([{ op: 'brokers', brokers: [{ nodeId: 'n', url: 'no' }] }]),
    joined([{ op: 'goaway' }]),
    // Found by reading: lists as long as these say, and what no number can be made of.
    joined([
      { answer: 'produce', error: { code: 'STALE_PARTITIONS', message: 'm', partitions: 2 ** 31 } },
    ]),
    joined([
      {
        answer: 'describeTopic',
        epochs: [{ partitions: 2 ** 40, lsn: 0, ends: [] }],
        partitions: 1,
      },
    ]),
    joined([{ op: 'deliver', sub: { valueOf: 1, toString: 1 }, items: [] }]),
    joined([
      { op: 'assignment', group: 'g', memberId: 'M', assigned: [{ topic: { toString: 1 } }] },
    ]),
    joined([{ op: 'end', sub: 1 }]),
    joined([{ answer: 'initProducer', producerId: 1, producerEpoch: 2 ** 53 - 1 }]),
    joined([{ answer: 'produce', offset: { valueOf: 1, toString: 1 }, throttleMs: 1e300 }]),
    joined([
      { op: 'end', sub: 1, error: { code: 'NOT_LEADER', message: 'm', retriable: true } },
      { answer: 'subscribe', sub: 1, offset: 0, end: 4 },
    ]),
    joined([{ answer: 'produce', offset: 1, lsn: 2, timestamp: 3, throttleMs: 1 }]),
    joined([
      { answer: 'produce', error: { code: 'STALE_PARTITIONS', message: 'm', partitions: 3 } },
    ]),
    joined([{ error: { code: 'BAD_FRAME', message: 'm' } }]),
    joined([deliver(0, 2, 3), deliver(2, 4, 4)]),
    joined([shared([[0, 2, 1]]), shared([[2, 1, 7]]), { answer: 'shareAcknowledge', refused: [] }]),
    // Found by reading: as many turns of a loop as these say.
    joined([shared([[0, 2 ** 53 - 1, 1]])]),
    joined([
      shared([[0, 2, 1]]),
      {
        answer: 'shareAcknowledge',
        refused: [{ topic: 't', partition: 0, offset: 0, count: 2 ** 53 - 1 }],
      },
    ]),
    joined([
      { answer: 'shareFetch', error: { code: 'UNKNOWN_GROUP', message: 'm' } },
      { answer: 'openShareGroup', error: { code: 'UNKNOWN_GROUP', message: 'm' } },
    ]),
  ],
  generate: framesFrom,
  ...holder.target(),
}

function deliver(offset: number, next: number, batch = 0): Frame {
  return {
    op: 'deliver',
    sub: 1,
    items: [{ offset, batch: sampleBatches[batch] }],
    next,
    bytes: 100,
    end: 9,
  }
}

function shared(acquired: readonly (readonly [number, number, number])[]): Frame {
  const items = [
    { offset: 0, batch: sampleBatches[0] },
    { offset: 2, batch: sampleBatches[3] },
  ]
  const records = [{ topic: 't', partition: 0, acquired, items }]
  return { answer: 'shareFetch', waitedMs: 0, records }
}

class World {
  private readonly server: Server
  private readonly connection: Connection
  private readonly client: Client
  private link: Link | undefined
  private waiting: { readonly op: string; readonly id: number }[] = []
  private fault: Error | undefined
  private subs = 0
  private memberId = ''
  /** What ended since the last input. */
  private ended = 0
  /** Values of whole batches that were sent. */
  private readonly sent = new Set<string>()
  private readonly running = new Map<string, Promise<void>>()
  private last: Uint8Array = new Uint8Array()
  private readonly onDeath = (): void =>
    console.error(`last input: ${Buffer.from(this.last).toString('base64')}`)

  private constructor(server: Server, connection: Connection) {
    this.server = server
    this.connection = connection
    this.client = new Client(connection, 2000)
    connection.onLink(link => {
      if (link !== undefined) this.adopt(link)
    })
    process.on('uncaughtExceptionMonitor', this.onDeath)
  }

  static async open(): Promise<World> {
    const server = createServer()
    const sockets = createSocketServer({
      frameBytesMax: wireLimits.frameBytesMax,
      verify: () => ({ ok: true }),
      onSocket: socket => {
        // Only the hello comes here; see `adopt`.
        socket.onMessage = bytes => {
          const { id } = unpackFrame(bytes)
          socket.send(packFrame({ ...hellos[greeted++ % hellos.length], id, protocol: 1 }))
        }
      },
    })
    server.on('upgrade', (request, socket, head) => sockets.handleUpgrade(request, socket, head))
    await new Promise<void>(resolve => {
      server.listen(0, '127.0.0.1', resolve)
    })
    const { port } = server.address() as AddressInfo
    const connection = await openConnection(`ws://127.0.0.1:${port}`, {
      lazy: true,
      retryBackoffMs: 0,
      retryBackoffMaxMs: 0,
      requestTimeoutMs: 2000,
    })
    return new World(server, connection)
  }

  /** False: the connection ended, or the application was told of an error. */
  async give(input: Uint8Array): Promise<boolean> {
    this.last = input
    const { connection } = this
    if (connection.closedBy !== undefined)
      throw new Finding(`the client is closed for good: ${connection.closedBy.message}`)
    const link = connection.link ?? (await connection.waitForLink({ timeoutMs: 10_000 }))
    this.begin()
    await nextTurn()
    this.answerAll('joinGroup', 'describeTopic', 'initProducer', 'openShareGroup')
    this.ended = 0
    let at = 0
    for (let n = 0; n < framesMax && at + 2 <= input.length && this.link === link; n++) {
      const length = Math.max(1, ((input[at] as number) << 8) | (input[at + 1] as number))
      this.receive(link, input.slice(at + 2, at + 2 + length))
      at += 2 + length
      if (n % 3 === 2) await nextTurn()
    }
    await nextTurn()
    this.answerAll()
    await nextTurn()
    this.answerAll()
    // A broker that said goodbye closes once it has answered.
    if (link.draining) link.channel.close()
    const { fault } = this
    this.fault = undefined
    if (fault !== undefined) throw fault
    return this.ended === 0 && connection.link === link
  }

  /** In place of the network: what the client sends comes here. */
  private adopt(link: Link): void {
    this.link = link
    this.waiting = []
    this.subs = 0
    const channel = link.channel as unknown as { socket: FrameSocket }
    const real = channel.socket
    channel.socket = {
      bufferedAmount: 0,
      onMessage: () => {},
      onClose: () => {},
      send: bytes => {
        const { op, id, memberId } = unpackFrame(bytes)
        if (op === 'joinGroup' && typeof memberId === 'string') this.memberId = memberId
        if (typeof id === 'number' && id > 0) this.waiting.push({ op: String(op), id })
      },
      close: (code, reason) => {
        if (this.link === link) this.link = undefined
        real.close(code, reason)
      },
    }
  }

  private receive(link: Link, bytes: Uint8Array): void {
    const channel = link.channel as unknown as { receive(bytes: Uint8Array): void }
    try {
      channel.receive(this.aimed(bytes))
    } catch (cause) {
      this.fault ??= new Finding(`thrown at the socket: ${(cause as Error).message}`, { cause })
    }
  }

  /** The frame with what only the client knows in it; what is no frame stays as it is. */
  private aimed(bytes: Uint8Array): Uint8Array {
    let frame: Frame
    try {
      frame = unpackFrame(bytes, limits)
    } catch {
      return bytes
    }
    this.remember(frame['items'])
    if (Array.isArray(frame['records']))
      for (const row of frame['records'] as readonly (Frame | null)[]) this.remember(row?.['items'])
    if (frame['memberId'] === 'M') frame['memberId'] = this.memberId
    const { answer, ...reply } = frame
    if (typeof answer === 'string') {
      const at = this.waiting.findIndex(({ op }) => op === answer)
      const [request] = at < 0 ? [] : this.waiting.splice(at, 1)
      frame = request === undefined ? reply : { ...reply, id: request.id }
    }
    try {
      return packFrame(frame)
    } catch {
      return bytes
    }
  }

  private remember(items: unknown): void {
    if (!Array.isArray(items)) return
    for (const item of items as readonly ({ readonly batch?: unknown } | null)[]) {
      const batch = item?.batch
      if (!(batch instanceof Uint8Array)) continue
      try {
        checkBatch(batch, { bytesMax: wireLimits.batchBytesMax })
        for (const { value } of decodeBatchSync(inflated(batch))) this.sent.add(textOf(value))
      } catch {
        // Nobody may see anything of it.
      }
    }
  }

  /** Answers what waits, or what waits of these operations. */
  private answerAll(...ops: readonly string[]): void {
    const { link } = this
    if (link === undefined) return
    for (const request of this.waiting.splice(0)) {
      if (ops.length > 0 && !ops.includes(request.op)) this.waiting.push(request)
      else this.receive(link, packFrame({ id: request.id, ...this.replyTo(request.op) }))
    }
  }

  private replyTo(op: string): Frame {
    switch (op) {
      case 'describeTopic':
        return {
          topic: 't',
          partitions: [{ partition: 0 }],
          epochs: [{ partitions: 1, lsn: 0, ends: [] }],
        }
      case 'subscribe':
        return { sub: (this.subs++ % 4) + 1, offset: 0, end: 9, partitions: 1 }
      case 'joinGroup':
        return { assigned: [{ topic: 't', partition: 0, generation: 1 }], revoking: [] }
      case 'initProducer':
        return { producerId: 1, producerEpoch: 0 }
      case 'produce':
        return { offset: 0, lsn: 1, timestamp: 1 }
      case 'shareFetch':
        return { waitedMs: 0, records: [] }
      case 'shareAcknowledge':
        return { refused: [] }
      case 'listOffsets':
        return { offsets: [{ offset: 9 }] }
      default:
        return {}
    }
  }

  /** Has everything running that a program would have. */
  private begin(): void {
    this.keep('reader', async () => {
      const read = {
        as: 'bytes',
        from: 'beginning',
        onTrimmed: 'skip',
        onLost: 'skip',
        onCorrupt: 'skip',
      } as const
      for await (const { value } of this.client.read('t', read)) this.hear(value)
    })
    this.keep('consumer', async () => {
      const consumer = this.client.consumer({
        groupId: 'g',
        topics: 't',
        as: 'bytes',
        autoOffsetReset: 'earliest',
      })
      for await (const { value } of consumer) this.hear(value)
    })
    this.keep('queue', async () => {
      const queue = this.client.queue({ group: 's', topics: 't', as: 'bytes', ackLingerMs: 0 })
      for await (const record of queue) {
        this.hear(record.value)
        record.ack().catch(() => {})
      }
    })
    this.keep('producer', async () => {
      const producer = this.client.producer({ lingerMs: 0 })
      try {
        await producer.send('t', { key: 'k', value: 'v' })
      } finally {
        await producer.close({ timeoutMs: 0 })
      }
    })
  }

  private keep(name: string, run: () => Promise<void>): void {
    if (this.running.has(name)) return
    const done = run()
      .catch((cause: unknown) => {
        this.ended++
        if (cause instanceof LogloomError) return
        this.fault ??= new Finding(`the ${name} is told: ${String(cause)}`, {
          cause,
          input: this.last,
        })
      })
      .finally(() => this.running.delete(name))
    this.running.set(name, done)
  }

  private hear(value: Uint8Array | null): void {
    if (!this.sent.has(textOf(value)))
      this.fault ??= new Finding(`a record that was in no whole batch: ${textOf(value)}`)
  }

  async close(): Promise<void> {
    await inTurn('the connection does not close', this.connection.close())
    await inTurn('the client does not close', this.client.close({ timeoutMs: 0 }))
    for (const [name, done] of this.running) await inTurn(`the ${name} does not end`, done)
    process.off('uncaughtExceptionMonitor', this.onDeath)
    this.server.closeAllConnections()
    await inTurn('a socket is left open', new Promise(resolve => this.server.close(resolve)))
  }
}

/** Whoever is closed ends soon. @throws Finding */
async function inTurn(rule: string, done: Promise<unknown>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Finding(rule)), closeMs)
  })
  await Promise.race([done, late]).finally(() => clearTimeout(timer))
}

/** The batch without compression, whatever else is wrong with it. @throws when its body cannot be decompressed */
function inflated(batch: Uint8Array): Uint8Array {
  if (readBatchHeader(batch).codec !== 'gzip') return batch
  const body = gunzipSync(batch.subarray(batchHeaderBytes), { maxOutputLength: 1 << 20 })
  const plain = new Uint8Array(Buffer.concat([batch.subarray(0, batchHeaderBytes), body]))
  const view = new DataView(plain.buffer)
  view.setUint8(8, 0)
  view.setUint32(12, body.length)
  view.setUint32(4, crc32(plain.subarray(8)))
  return plain
}

function textOf(value: Uint8Array | null): string {
  return value === null ? 'null' : Buffer.from(value).toString('hex')
}

// A client written from docs/protocol.md alone, with a WebSocket and a msgpack library and none of our code: what any other language would do.
// It checks nothing and hides nothing, so tests can send whatever a peer may send.

import { crc32 } from 'node:zlib'
import { Packr, Unpackr } from 'msgpackr'
import { type ClientOptions, WebSocket } from 'ws'

export type Frame = Record<string, unknown>

export interface WireError {
  readonly code: string
  readonly message: string
  readonly retriable: boolean
  readonly hint: string
  readonly [detail: string]: unknown
}

const packr = new Packr({ useRecords: false, variableMapSize: true })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })

/** One msgpack value. */
export function pack(value: unknown): Uint8Array {
  return Uint8Array.from(packr.pack(value))
}

export class RawClient {
  /** Frames without a request: pushes, and errors whose id is nil. */
  readonly pushes: Frame[] = []
  /** Ids in the order in which their replies came. */
  readonly answered: number[] = []
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  readonly ws: WebSocket
  private readonly waiting = new Map<number, (frame: Frame | Error) => void>()
  private readonly watchers = new Set<() => void>()
  private nextId = 1

  private constructor(ws: WebSocket) {
    this.ws = ws
    ws.on('message', data => {
      const frame = unpackr.unpack(data as Buffer) as Frame
      const settle = this.waiting.get(frame['id'] as number)
      if (settle === undefined) this.pushes.push(frame)
      else {
        this.waiting.delete(frame['id'] as number)
        this.answered.push(frame['id'] as number)
        settle(frame)
      }
      for (const watcher of this.watchers) watcher()
    })
    ws.on('error', () => {})
    this.closed = new Promise(resolve => {
      ws.on('close', (code, reason) => {
        resolve({ code, reason: reason.toString() })
        for (const settle of this.waiting.values())
          settle(new Error(`closed with ${code} ${reason.toString()}`))
      })
    })
  }

  /** Connects without a word. */
  static async dial(url: string, options: ClientOptions = {}): Promise<RawClient> {
    const ws = new WebSocket(url, { perMessageDeflate: false, ...options })
    const client = new RawClient(ws)
    await new Promise<void>((resolve, reject) => {
      ws.once('open', () => resolve())
      ws.once('error', reject)
    })
    return client
  }

  /** Over a socket that is open. */
  static over(ws: WebSocket): RawClient {
    return new RawClient(ws)
  }

  /** Connects and says hello. */
  static async connect(url: string): Promise<RawClient> {
    const client = await RawClient.dial(url)
    await client.call('hello', { protocol: 1, client: 'raw' })
    return client
  }

  /** Sends a request; resolves with whatever answers it. */
  request(op: string, fields: Frame = {}): Promise<Frame> {
    const id = this.nextId++
    return new Promise((resolve, reject) => {
      this.waiting.set(id, answer => (answer instanceof Error ? reject(answer) : resolve(answer)))
      this.send({ op, id, ...fields })
    })
  }

  /** Sends a request. @throws the broker's error as it came */
  async call(op: string, fields: Frame = {}): Promise<Frame> {
    const reply = await this.request(op, fields)
    if (reply['error'] !== undefined)
      throw Object.assign(new Error(JSON.stringify(reply['error'])), reply['error'])
    return reply
  }

  /** The error that a request gets. @throws when it succeeds */
  async refusal(op: string, fields: Frame = {}): Promise<WireError> {
    const reply = await this.request(op, fields)
    if (reply['error'] === undefined)
      throw new Error(`${op} was not refused: ${JSON.stringify(reply)}`)
    return reply['error'] as WireError
  }

  /** Everything that `write` sends leaves in one piece, so the broker meets it in one turn. */
  inOnePiece<T>(write: () => T): T {
    const { _socket: socket } = this.ws as unknown as { _socket: { cork(): void; uncork(): void } }
    socket.cork()
    const result = write()
    socket.uncork()
    return result
  }

  send(frame: Frame): void {
    this.sendBytes(pack(frame))
  }

  sendBytes(bytes: Uint8Array): void {
    this.ws.send(bytes)
  }

  sendText(text: string): void {
    this.ws.send(text)
  }

  /** Resolves when the pushes so far satisfy `condition`. @throws when the connection ends before */
  async untilPushed(condition: (pushes: readonly Frame[]) => boolean): Promise<readonly Frame[]> {
    if (condition(this.pushes)) return this.pushes
    let watcher = (): void => {}
    const seen = new Promise<void>(resolve => {
      watcher = () => {
        if (condition(this.pushes)) resolve()
      }
    })
    this.watchers.add(watcher)
    const ended = this.closed.then(({ code, reason }) => {
      if (!condition(this.pushes)) throw new Error(`closed with ${code} ${reason}`)
    })
    await Promise.race([seen, ended])
    this.watchers.delete(watcher)
    return this.pushes
  }

  async close(): Promise<void> {
    this.ws.close()
    await this.closed
  }
}

export interface HandRecord {
  readonly key?: string
  readonly value: string
  readonly timestampDelta?: number
}

export interface HandBatch {
  readonly baseTimestamp?: number
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
}

/** A batch by hand, from the table in protocol.md 4.1. */
export function handBatch(records: readonly HandRecord[], fields: HandBatch = {}): Uint8Array {
  const { baseTimestamp = 1_700_000_000_123, producerId = 0, producerEpoch = 0 } = fields
  const body = pack(
    records.map(({ key, value, timestampDelta = 0 }) => [
      key === undefined ? null : Buffer.from(key),
      Buffer.from(value),
      null,
      timestampDelta,
    ]),
  )
  const batch = Buffer.alloc(64 + body.length)
  const newest = Math.max(...records.map(r => r.timestampDelta ?? 0))
  batch[0] = 0xb1
  batch[1] = 1
  batch.writeUInt32BE(body.length, 12)
  batch.writeUInt32BE(records.length, 16)
  batch.writeUInt32BE(records.length, 20)
  batch.writeUInt32BE(body.length, 24)
  batch.writeUInt32BE(fields.baseSequence ?? 0, 28)
  batch.writeBigUInt64BE(BigInt(baseTimestamp), 32)
  batch.writeBigUInt64BE(BigInt(baseTimestamp + newest), 40)
  batch.writeBigUInt64BE(BigInt(producerId), 48)
  batch.writeUInt32BE(producerEpoch, 56)
  batch.set(body, 64)
  return sealBatch(batch)
}

/** Writes the CRC that the bytes after it need. */
export function sealBatch(batch: Uint8Array): Uint8Array {
  const bytes = Buffer.from(batch.buffer, batch.byteOffset, batch.length)
  bytes.writeUInt32BE(crc32(bytes.subarray(8)), 4)
  return batch
}

/** Values of the records of a batch, by hand. */
export function valuesOf(batch: unknown): string[] {
  const body = (batch as Buffer).subarray(64)
  return (unpackr.unpack(body) as [unknown, Buffer][]).map(([, value]) => value.toString())
}

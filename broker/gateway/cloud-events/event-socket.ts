// The CloudEvents endpoint (protocol.md 1.5): a socket that speaks our protocol to the broker's side in place of its peer, and JSON events to the peer. So a reader
// of events is a connection like any other, with the same hello, rights, quotas, bounds and end.
//
//   peer ◄── text: one event a message ── EventSocket ◄── deliver, end, errors ── Connection
//        ─── nothing: it is read-only ──►      │ └────── hello, subscribe, credit ──►
//
// Credit is given back when events were written; what waits in the socket is bounded by the connection's output limits.

import { LogloomError, type WireError } from '../../../wire/errors.ts'
import { type Frame, packFrame, unpackFrame } from '../../../wire/frame.ts'
import type { ServerSocket } from '../../../wire/server.ts'
import { closeCode } from '../connection.ts'
import { ownEvent, type PlainRecord, placeAttributes, recordEvent } from './event-json.ts'
import { type EventRequest, eventSubprotocol } from './event-request.ts'

/** Batch bytes of one partition on their way. */
const eventCreditBytes = 256 * 1024

const helloId = 0

export class EventSocket implements ServerSocket {
  onMessage: (bytes: Uint8Array) => void = () => {}
  onClose: (code: number, reason: string) => void = () => {}
  onPong: () => void = () => {}
  onPing: () => void = () => {}
  onText: () => void = () => {}
  onFault: () => void = () => {}
  onDrain: () => void = () => {}
  private readonly inner: ServerSocket
  private readonly request: EventRequest
  /** By subscription. */
  private readonly partitions = new Map<number, number>()
  /** Of the topic, as far as it is known; those that are there at the beginning are read from where it was asked. */
  private total = 0
  private atFirst: number | undefined
  /** Not subscribed to yet. */
  private next: number
  private isAsking = false
  private ended = false

  constructor(inner: ServerSocket, request: EventRequest) {
    this.inner = inner
    this.request = request
    this.next = request.partition ?? 0
    inner.onMessage = inner.onText = () =>
      this.end(
        new LogloomError(
          'INVALID_REQUEST',
          'this endpoint is read-only: it takes no messages',
        ).toWire(),
      )
    inner.onClose = (code, reason) => this.onClose(code, reason)
    inner.onPong = () => this.onPong()
    inner.onPing = () => this.onPing()
    inner.onDrain = () => this.onDrain()
    inner.onFault = () => this.onFault()
  }

  /** Says hello, once somebody listens. */
  start(token: string | undefined): void {
    const auth = token === undefined ? {} : { auth: { token } }
    this.ask({ op: 'hello', id: helloId, protocol: 1, client: eventSubprotocol, ...auth })
  }

  send(bytes: Uint8Array): void {
    if (!this.ended) this.heard(unpackFrame(bytes))
  }

  sendPieces(pieces: readonly Uint8Array[]): void {
    this.send(Buffer.concat(pieces))
  }

  sendText(text: string): void {
    this.inner.sendText(text)
  }

  close(code?: number, reason?: string): void {
    this.ended = true
    this.inner.ignoreRest()
    this.inner.close(code, reason)
  }

  get bufferedAmount(): number {
    return this.inner.bufferedAmount
  }

  get remoteAddress(): string {
    return this.inner.remoteAddress
  }

  get remotePort(): number {
    return this.inner.remotePort
  }

  get partialBytes(): number {
    return this.inner.partialBytes
  }

  pause(): void {
    this.inner.pause()
  }

  resume(): void {
    this.inner.resume()
  }

  cork(): void {
    this.inner.cork()
  }

  uncork(): void {
    this.inner.uncork()
  }

  ping(): void {
    this.inner.ping()
  }

  terminate(): void {
    this.inner.terminate()
  }

  watchBytes(listener: (bytes: number) => void): void {
    this.inner.watchBytes(listener)
  }

  ignoreRest(): void {
    this.inner.ignoreRest()
  }

  /** Speaks to the broker's side; later, for it may be speaking itself. */
  private ask(frame: Frame): void {
    setImmediate(() => {
      if (!this.ended) this.onMessage(packFrame(frame))
    })
  }

  private heard(frame: Frame): void {
    if (frame['error'] !== undefined) this.end(frame['error'] as WireError)
    else if (frame.op === 'deliver') this.deliver(frame)
    else if (frame.id === helloId) this.subscribe()
    else if (typeof frame.id === 'number') {
      this.isAsking = false
      this.partitions.set(frame['sub'] as number, frame.id - 1)
      this.atFirst ??= frame['partitions'] as number
      this.learn(frame['partitions'] as number)
    }
  }

  /** The topic has so many partitions: those that are not read yet are, one after the other, unless one was asked for. */
  private learn(partitions: number): void {
    if (this.request.partition !== undefined) return
    this.total = Math.max(this.total, partitions)
    if (!this.isAsking && this.next < this.total) this.subscribe()
  }

  private subscribe(): void {
    const { topic, from: asked } = this.request
    const partition = this.next++
    // Of what was added while this reads, all is new.
    const from = partition < (this.atFirst ?? Number.POSITIVE_INFINITY) ? asked : 'beginning'
    const more = { credit: eventCreditBytes, format: 'records' }
    this.isAsking = true
    this.ask({ op: 'subscribe', id: partition + 1, topic, partition, from, ...more })
  }

  private deliver(frame: Frame): void {
    const sub = frame['sub'] as number
    const { topic } = this.request
    const partition = this.partitions.get(sub) as number
    if (frame['partitions'] !== undefined) this.learn(frame['partitions'] as number)
    for (const item of frame['items'] as readonly Frame[]) {
      const place = { topic, partition, offset: item['offset'] as number }
      this.sendText(
        item['gap'] === undefined
          ? recordEvent(place, item as unknown as PlainRecord)
          : gapEvent(place, item),
      )
    }
    const bytes = frame['bytes'] as number
    if (bytes > 0) this.ask({ op: 'credit', sub, bytes })
  }

  /** Says why, as an event too, and closes. */
  private end(error: WireError): void {
    if (this.ended) return
    const { code, message, retriable } = error
    this.sendText(ownEvent('error', globalThis.crypto.randomUUID(), this.request.topic, error))
    this.close(retriable ? closeCode.tryLater : closeCode.policy, `${code}: ${message}`)
  }
}

function gapEvent(
  place: { topic: string; partition: number; offset: number },
  item: Frame,
): string {
  const { topic, partition, offset } = place
  const { gap, next } = item
  const data = { gap, offset, next }
  return ownEvent('gap', `${partition}-${offset}-gap`, topic, data, placeAttributes(place))
}

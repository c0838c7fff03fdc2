// A broker in memory for tests of the SDK: docs/protocol.md sections 1 to 6 on a real socket, with faults at chosen frames.
//
// A fault is chosen per request by `plan`, in the order of arrival. What a fault does to the log and to the answer is said in
// `Fault`; everything else is served by the rules.

import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Frame, LogloomError, packFrame, unpackFrame, wireLimits } from '../../wire/index.ts'
import { createSocketServer, type ServerSocket } from '../../wire/server.ts'
import { FakeLog, type Identity } from './fake-log.ts'

/**
 * What happens to one request. `dropBefore`: the connection ends, nothing was done. `dropAfter`: done, then the connection ends before
 * the answer. `late`: done, answered after the next request of the connection. `unknown`: done, answered OUTCOME_UNKNOWN. `copy`:
 * nothing is done now and the connection ends; the request is done when the next connection sent its first one. `silent`: done, never
 * answered. An error: nothing was done, answered with it.
 */
export type Fault =
  | 'serve'
  | 'dropBefore'
  | 'dropAfter'
  | 'late'
  | 'unknown'
  | 'copy'
  | 'silent'
  | LogloomError

interface Subscription {
  readonly sub: number
  readonly topic: string
  readonly partition: number
  next: number
  credit: number
}

class Peer {
  readonly socket: ServerSocket
  readonly subscriptions = new Map<number, Subscription>()
  readonly held: Frame[] = []
  greeted = false
  gone = false
  subs = 1

  constructor(socket: ServerSocket) {
    this.socket = socket
  }

  send(frame: Frame): void {
    if (!this.gone) this.socket.send(packFrame(frame))
  }
}

export class FakeBroker {
  readonly log: FakeLog
  /** Chooses what happens to each request but hello and credit. */
  plan: (op: string, frame: Frame) => Fault = () => 'serve'
  /** Largest delivery, bytes; at least one item is delivered. */
  deliverBytesMax = 64 << 10
  /** Bound of a subscription's credit, announced in hello. */
  creditBytesMax = 1 << 24
  /** Requests seen, by op. */
  readonly seen = new Map<string, number>()
  /** Bytes pushed to subscriptions so far. */
  deliveredBytes = 0
  connections = 0
  /** Reads requests and answers nothing. */
  mute = false
  readonly #server: Server = createServer()
  readonly #peers = new Set<Peer>()
  readonly #copies: Frame[] = []

  private constructor(log: FakeLog) {
    this.log = log
    const sockets = createSocketServer({
      frameBytesMax: wireLimits.frameBytesMax,
      verify: () => ({ ok: true }),
      onSocket: socket => this.#accept(socket),
    })
    this.#server.on('upgrade', (request, socket, head) =>
      sockets.handleUpgrade(request, socket, head),
    )
    const others = log.onAppend
    log.onAppend = () => {
      others()
      for (const peer of this.#peers) this.#deliver(peer)
    }
  }

  /** With the log of another one: a second broker of the same cluster. */
  static async start(port = 0, log = new FakeLog()): Promise<FakeBroker> {
    const broker = new FakeBroker(log)
    await broker.listen(port)
    return broker
  }

  async listen(port: number): Promise<void> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/`
  }

  get peers(): number {
    return this.#peers.size
  }

  count(op: string): number {
    return this.seen.get(op) ?? 0
  }

  /** Ends every connection, rudely without a code. */
  disconnect(code?: number, reason?: string): void {
    for (const peer of this.#peers) {
      peer.gone = true
      if (code === undefined) peer.socket.terminate()
      else peer.socket.close(code, reason)
    }
  }

  push(frame: Frame): void {
    for (const peer of this.#peers) peer.send(frame)
  }

  /** Stops listening and ends every connection; `listen` with the same port brings it back. */
  async stop(): Promise<void> {
    this.disconnect()
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }

  #accept(socket: ServerSocket): void {
    const peer = new Peer(socket)
    this.#peers.add(peer)
    this.connections++
    socket.onClose = () => {
      peer.gone = true
      this.#peers.delete(peer)
    }
    socket.onMessage = bytes => {
      if (!peer.gone && !this.mute) this.#receive(peer, unpackFrame(bytes))
    }
  }

  #receive(peer: Peer, frame: Frame): void {
    const op = frame['op'] as string
    if (op === 'credit') {
      this.#credit(peer, frame)
      return
    }
    if (op === 'hello') {
      peer.greeted = true
      const limits = { ...wireLimits, creditBytesMax: this.creditBytesMax }
      peer.send({
        id: frame['id'],
        protocol: 1,
        serverId: 'fake',
        version: '0',
        codecs: [],
        limits,
      })
      return
    }
    if (!peer.greeted) throw new Error(`the first frame was ${op}`)
    this.seen.set(op, this.count(op) + 1)
    const held = peer.held.splice(0)
    this.#obey(peer, frame, op === 'ping' ? 'serve' : this.plan(op, frame))
    for (const reply of held) peer.send(reply)
    if (!peer.gone) for (const copy of this.#copies.splice(0)) this.#answer(peer, copy)
  }

  #obey(peer: Peer, frame: Frame, fault: Fault): void {
    if (fault instanceof LogloomError) {
      peer.send({ id: frame['id'], error: fault.toWire() })
      return
    }
    if (fault === 'dropBefore' || fault === 'copy') {
      if (fault === 'copy') this.#copies.push(structuredClone(frame))
      peer.gone = true
      peer.socket.terminate()
      return
    }
    const reply = this.#answer(peer, frame)
    if (frame['acks'] === 0) return
    if (fault === 'serve') {
      peer.send(reply)
      if (frame['op'] === 'subscribe') this.#deliver(peer)
    } else if (fault === 'late') {
      peer.held.push(reply)
      // Nothing may follow: then it is late by a turn of the event loop.
      setImmediate(() => {
        const at = peer.held.indexOf(reply)
        if (at >= 0) peer.send(...(peer.held.splice(at, 1) as [Frame]))
      })
    } else if (fault === 'unknown') {
      const error = new LogloomError('OUTCOME_UNKNOWN', 'who knows').toWire()
      peer.send(reply['error'] === undefined ? { id: frame['id'], error } : reply)
    } else if (fault === 'dropAfter') {
      peer.gone = true
      peer.socket.terminate()
    }
  }

  #answer(peer: Peer, frame: Frame): Frame {
    const id = frame['id']
    try {
      return { id, ...this.#serve(peer, frame['op'] as string, frame) }
    } catch (error) {
      if (!(error instanceof LogloomError)) throw error
      return { id, error: error.toWire() }
    }
  }

  #serve(peer: Peer, op: string, frame: Frame): Frame {
    const { log } = this
    const name = frame['topic'] as string
    switch (op) {
      case 'ping':
        return {}
      case 'initProducer':
        return log.newProducer()
      case 'createTopic':
        return this.#command(frame, () => {
          const existing = log.topics.get(name)
          if (existing && frame['ifNotExists'] !== true) {
            throw new LogloomError('TOPIC_EXISTS', `${name} exists`)
          }
          const topic = existing ?? log.create(name, frame['partitions'] as number | undefined)
          const { topicId, partitions } = topic
          return { topic: name, topicId, partitions: partitions.length, created: !existing }
        })
      case 'describeTopic': {
        const { topicId, config, partitions, epochs } = log.topic(name)
        const list = partitions.map(({ start, end }, partition) => {
          return { partition, startOffset: start, endOffset: end, bytes: 0 }
        })
        const known = epochs && { epochs }
        return { topic: name, topicId, config, createdAt: 0, partitions: list, ...known }
      }
      case 'produce':
        return this.#produce(frame)
      case 'publish':
        return this.#command(frame, () => this.#publish(frame))
      case 'subscribe':
        return this.#subscribe(peer, frame)
      case 'unsubscribe':
        peer.subscriptions.delete(frame['sub'] as number)
        return {}
      case 'switchLog':
        return {
          sealed: { index: 0, start: 0, end: 1 },
          pauseMs: 1,
          opened: { index: 1, start: 1, spec: frame['spec'] },
        }
      default:
        throw new LogloomError('UNKNOWN_OP', op)
    }
  }

  #command(frame: Frame, act: () => Frame): Frame {
    return this.log.decide(frame['producer'] as Identity | undefined, 'commands', 1, act)
  }

  #produce(frame: Frame): Frame {
    const { log } = this
    const topic = frame['topic'] as string
    const partition = frame['partition'] as number
    const batch = frame['batch'] as Uint8Array
    const { count, span, who } = log.check(batch)
    if (!log.topics.has(topic) && log.autoCreate) log.create(topic)
    log.partition(topic, partition)
    return log.decide(who, `${topic}-${partition}`, count, () => {
      const expect = frame['expect'] as { offset: number } | undefined
      if (expect) log.expect(topic, partition, expect.offset)
      const { offset, lsn, timestamp } = log.append(topic, partition, batch, span, log.nextLsn())
      return { offset, lsn, timestamp }
    })
  }

  #publish(frame: Frame): Frame {
    const { log } = this
    const batches = frame['batches'] as { topic: string; partition: number; batch: Uint8Array }[]
    type Expected = { topic: string; partition: number; offset: number }
    for (const { topic, partition, offset } of (frame['expect'] ?? []) as Expected[]) {
      log.expect(topic, partition, offset)
    }
    for (const { topic, partition } of batches) log.partition(topic, partition)
    const lsn = log.nextLsn()
    const offsets = batches.map(({ topic, partition, batch }) => {
      const { span } = log.check(batch)
      return { topic, partition, offset: log.append(topic, partition, batch, span, lsn).offset }
    })
    return { lsn, timestamp: 1000 + lsn, offsets }
  }

  #subscribe(peer: Peer, frame: Frame): Frame {
    const topic = frame['topic'] as string
    const partition = frame['partition'] as number
    const next = this.log.resolve(topic, partition, frame['from'])
    const sub = peer.subs++
    const credit = Math.min(frame['credit'] as number, this.creditBytesMax)
    peer.subscriptions.set(sub, { sub, topic, partition, next, credit })
    return { sub, offset: next, end: this.log.partition(topic, partition).end }
  }

  #credit(peer: Peer, frame: Frame): void {
    const subscription = peer.subscriptions.get(frame['sub'] as number)
    if (!subscription) return
    const credit = subscription.credit + (frame['bytes'] as number)
    subscription.credit = Math.min(credit, this.creditBytesMax)
    this.#deliver(peer)
  }

  #deliver(peer: Peer): void {
    if (peer.gone) return
    for (const subscription of peer.subscriptions.values()) {
      while (subscription.credit > 0 && !peer.gone && this.#deliverOnce(peer, subscription));
    }
  }

  #deliverOnce(peer: Peer, subscription: Subscription): boolean {
    const { sub, topic, partition } = subscription
    const { items, end } = this.log.partition(topic, partition)
    const chosen: Frame[] = []
    let bytes = 0
    for (const item of items) {
      if (item.next <= subscription.next) continue
      const size = 'batch' in item ? item.batch.byteLength : 0
      if (chosen.length > 0 && bytes + size > this.deliverBytesMax) break
      bytes += size
      chosen.push({ ...item })
      subscription.next = item.next
    }
    if (chosen.length === 0) return false
    const fault = this.plan('deliver', { topic, partition })
    if (fault !== 'serve') {
      peer.gone = true
      peer.socket.terminate()
      return false
    }
    subscription.credit -= bytes
    this.deliveredBytes += bytes
    peer.send({ op: 'deliver', sub, items: chosen, next: subscription.next, bytes, end })
    return true
  }
}

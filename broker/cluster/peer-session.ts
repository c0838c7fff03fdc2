// Serves the requests of one node over the connection that it made (protocol.md 9.2).
//
// Guarantees: what is being served and what waits to be sent back is bounded in bytes: beyond, the node's requests stay unread; a node that
// does not take its replies is cut. Replies leave in the order in which handlers finish.

import type { Handler, Message } from '../../loglets/net.ts'
import { LogloomError } from '../../wire/errors.ts'
import { map, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import type { BrokerLogger } from '../broker-options.ts'
import { codedError, packError, packReply } from './messages.ts'
import type { PeerConnection } from './peer-connection.ts'
import {
  outputStallMsMax,
  peerOutputBytesMax,
  replyBytesMax,
  servedBytesMax,
  servedCallsMax,
} from './peer-limits.ts'

export class PeerSession {
  readonly connection: PeerConnection
  private readonly handlers: ReadonlyMap<string, Handler>
  private readonly logger: BrokerLogger
  private readonly running = new Set<Promise<void>>()
  private servedBytes = 0
  private waitingBytes = 0
  private waitingSince = 0

  constructor(
    connection: PeerConnection,
    handlers: ReadonlyMap<string, Handler>,
    logger: BrokerLogger,
  ) {
    this.connection = connection
    this.handlers = handlers
    this.logger = logger
    connection.onFrame = (frame, bytes) => this.receive(frame, bytes)
    connection.onDrain = () => this.checkPause()
  }

  /** Resolves when no handler runs any more. */
  async settled(): Promise<void> {
    while (this.running.size > 0) await Promise.all(this.running)
  }

  tick(now: number, stalledMs: number): void {
    this.connection.tick(now, stalledMs)
    const { outputBytes } = this.connection
    if (outputBytes === 0 || outputBytes < this.waitingBytes || this.waitingBytes === 0)
      this.waitingSince = now
    else this.waitingSince += stalledMs
    this.waitingBytes = outputBytes
    if (now - this.waitingSince >= outputStallMsMax)
      this.connection.end(`no reply was read for ${outputStallMsMax} ms (outputStallMsMax)`, 3008)
  }

  private receive(frame: Frame, bytes: number): void {
    const id = uint(frame, 'id')
    const verb = str(frame, 'verb')
    const body = map(frame, 'body') as Message
    this.servedBytes += bytes
    const work = this.serve(id, verb, body).finally(() => {
      this.running.delete(work)
      this.servedBytes -= bytes
      this.checkPause()
    })
    this.running.add(work)
    this.checkPause()
  }

  private async serve(id: number, verb: string, body: Message): Promise<void> {
    const from = this.connection.peer.node
    let reply: Uint8Array
    try {
      const handler = this.handlers.get(verb)
      if (handler === undefined)
        throw new LogloomError('UNKNOWN_OP', `this node does not serve ${verb.slice(0, 100)}`)
      reply = packReply(id, verb, await handler(from, body))
    } catch (error) {
      const coded = codedError(error)
      if (coded.code === 'INTERNAL')
        this.logger.error(
          { from, verb, error: error instanceof Error ? (error.stack ?? '') : String(error) },
          'a request of another node failed',
        )
      reply = packError(id, coded)
    }
    if (this.connection.outputBytes + reply.length > peerOutputBytesMax)
      this.connection.end(
        `${this.connection.outputBytes} bytes of replies wait, the limit is ${peerOutputBytesMax} (peerOutputBytesMax)`,
        3008,
      )
    else this.connection.send(reply)
  }

  private checkPause(): void {
    const { servedBytes, connection } = this
    const isOver = (part: number): boolean =>
      servedBytes > servedBytesMax * part ||
      this.running.size >= servedCallsMax * part ||
      connection.outputBytes > replyBytesMax * part
    if (isOver(1)) connection.pause()
    else if (!isOver(0.5)) connection.resume()
  }
}

// Commands with a producer identity: atomic publishes and changes of topics (protocol.md 5, "command lane").
//
// Guarantees: each command takes effect at most once, in the order given, however often it has to be sent. One lane per owner; it
// does not know what the commands mean.

import { type Frame, LogloomError } from '../wire/index.ts'
import type { Connection } from './connection.ts'
import { Lane, type LaneItem, type Stamp } from './lane.ts'
import type { Link } from './link.ts'
import type { ProducerIdSource } from './producer-id.ts'

export interface CommandOptions {
  readonly signal?: AbortSignal | undefined
  /** From the call until the outcome must be known, milliseconds. */
  readonly timeoutMs: number
  /** The fields in place of those that were refused as out of date. @throws when there are none */
  readonly renew?: (error: LogloomError) => Frame
}

export class CommandLane {
  readonly #connection: Connection
  readonly #lane: Lane
  readonly #stopListening: () => void

  /** `ids` undefined: commands carry no identity. */
  constructor(connection: Connection, ids: ProducerIdSource | undefined, name: string) {
    this.#connection = connection
    this.#lane = new Lane(connection, ids, name)
    this.#stopListening = connection.onLink(link => {
      if (link) this.#lane.pump()
      else this.close(connection.closedBy as LogloomError)
    })
    if (connection.closedBy) this.close(connection.closedBy)
  }

  /** Runs one command. An abort gives up waiting: what was not sent never is; what was sent may still take effect. */
  run(op: string, fields: Frame, o: CommandOptions): Promise<Frame> {
    const { clock, requestTimeoutMs } = this.#connection
    const { renew } = o
    let current = fields
    if (o.signal?.aborted) return Promise.reject(o.signal.reason as Error)
    return new Promise((resolve, reject) => {
      const done = (): void => {
        cancelTimer()
        o.signal?.removeEventListener('abort', abort)
      }
      const abort = (): void => {
        // What was sent keeps its place and its deadline: those after it wait for what becomes of it.
        if (this.#lane.recall(other => other === item).length > 0) done()
        reject(o.signal?.reason as Error)
      }
      o.signal?.addEventListener('abort', abort, { once: true })
      const deadlineMs = clock.nowMs() + o.timeoutMs
      // A millisecond late rather than early: timers may be rounded down.
      const cancelTimer = clock.schedule(o.timeoutMs + 1, () => this.#lane.expire(clock.nowMs()))
      const item: LaneItem = {
        count: 1,
        deadlineMs,
        ready: true,
        transmit: (link, stamp) => send(link, op, current, stamp, requestTimeoutMs),
        ...(renew && {
          renew: error => {
            current = renew(error)
          },
        }),
        succeed: reply => (done(), resolve(reply)),
        fail: error => (done(), reject(error)),
      }
      this.#lane.push(item)
    })
  }

  close(error: LogloomError): void {
    this.#stopListening()
    this.#lane.close(error)
  }
}

function send(
  link: Link,
  op: string,
  fields: Frame,
  stamp: Stamp | undefined,
  timeoutMs: number,
): Promise<Frame> {
  if (!stamp) return link.channel.request(op, fields, { timeoutMs })
  const producer = { id: stamp.producerId, epoch: stamp.producerEpoch, sequence: stamp.sequence }
  return link.channel.request(op, { ...fields, producer }, { timeoutMs })
}

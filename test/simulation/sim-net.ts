// A network that loses, delays, reorders and repeats messages, and of which links can be cut, one way or both; implements Net for each
// simulated process. Requests and replies travel by themselves, so a request may be carried out although its caller hears nothing.

import {
  type CallOptions,
  type Handler,
  type Message,
  type MessageValue,
  type Net,
  NetError,
  type NodeId,
  RemoteError,
} from '../../loglets/net.ts'
import type { Process, World } from './world.ts'

export interface NetFaults {
  /** Of each message. */
  drop: number
  /** Of each message: a second copy, later. */
  duplicate: number
  /** Mean of the exponential delay, ms. */
  delayMs: number
}

interface Endpoint {
  readonly process: Process
  readonly handlers: Map<string, Handler>
}

/** What still comes in when nothing fails. */
const calmDelayMs = 0.5

export class SimNet {
  private readonly world: World
  private readonly faults: NetFaults
  private readonly endpoints = new Map<NodeId, Endpoint>()
  /** Cut directions, `from>to`. */
  private readonly cuts = new Set<string>()
  sent = 0
  lost = 0
  repeated = 0

  constructor(world: World, faults: NetFaults) {
    this.world = world
    this.faults = faults
  }

  /** The node's line, as one incarnation of its process has it; replaces that of an earlier one. */
  endpoint(self: NodeId, process: Process): Net {
    const own: Endpoint = { process, handlers: new Map() }
    this.endpoints.set(self, own)
    return {
      self,
      call: (to, verb, request, options) => this.call(self, process, to, verb, request, options),
      handle: (verb, handler) => {
        own.handlers.set(verb, handler)
        return () => own.handlers.delete(verb)
      },
    }
  }

  cut(from: NodeId, to: NodeId): void {
    this.cuts.add(`${from}>${to}`)
  }

  mend(from: NodeId, to: NodeId): void {
    this.cuts.delete(`${from}>${to}`)
  }

  isCut(from: NodeId, to: NodeId): boolean {
    return this.cuts.has(`${from}>${to}`) || this.cuts.has(`${to}>${from}`)
  }

  /** Nothing fails any more. */
  heal(): void {
    this.cuts.clear()
    this.faults.drop = 0
    this.faults.duplicate = 0
    this.faults.delayMs = calmDelayMs
  }

  private call(
    from: NodeId,
    process: Process,
    to: NodeId,
    verb: string,
    request: Message,
    { timeoutMs, signal }: CallOptions,
  ): Promise<Message> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error)
        return
      }
      let open = true
      const settle = (run: () => void): void => {
        if (!open) return
        open = false
        signal?.removeEventListener('abort', stop)
        run()
      }
      const stop = (): void => settle(() => reject(signal?.reason as Error))
      signal?.addEventListener('abort', stop, { once: true })
      const back = (run: () => void): void =>
        this.travel(to, from, () => process.enter(() => settle(run)))
      const at = this.endpoints.get(to)
      if (at === undefined || !at.process.alive) {
        // A refused connection, unless the link is cut: then nothing comes back at all.
        if (!this.isCut(from, to))
          back(() => reject(new NetError('UNREACHABLE', `${to} does not listen`)))
      } else
        this.travel(from, to, () => {
          const target = this.endpoints.get(to)
          target?.process.enter(() => {
            const handler = target.handlers.get(verb)
            if (handler === undefined) {
              back(() => reject(new RemoteError(to, 'UNKNOWN_OP', `${to} does not serve ${verb}`)))
              return
            }
            handler(from, copy(request)).then(
              reply => {
                const bytes = copy(reply)
                back(() => resolve(bytes))
              },
              error => {
                const { code = 'INTERNAL', message } = error as { code?: string; message: string }
                back(() => reject(new RemoteError(to, code, message)))
              },
            )
          })
        })
      this.world.at(timeoutMs, () =>
        process.enter(() =>
          settle(() => reject(new NetError('TIMEOUT', `no reply from ${to} to ${verb}`))),
        ),
      )
    })
  }

  /** One message. What a node says to itself is not lost, only late. */
  private travel(from: NodeId, to: NodeId, arrive: () => void): void {
    const { rng } = this.world
    this.sent++
    if (from === to) {
      this.world.at(rng.next() * 0.1, arrive)
      return
    }
    const { drop, duplicate, delayMs } = this.faults
    if (rng.chance(duplicate)) {
      this.repeated++
      this.deliver(from, to, 5 * delayMs * rng.next(), arrive)
    }
    if (rng.chance(drop)) {
      this.lost++
      return
    }
    this.deliver(from, to, 0, arrive)
  }

  private deliver(from: NodeId, to: NodeId, extraMs: number, arrive: () => void): void {
    const delay = extraMs - this.faults.delayMs * Math.log(1 - this.world.rng.next())
    this.world.at(delay, () => {
      if (this.cuts.has(`${from}>${to}`)) this.lost++
      else arrive()
    })
  }
}

/** The receiver's own copy: nothing is shared over a wire. */
function copy<T extends Message | MessageValue | undefined>(value: T): T {
  if (value instanceof Uint8Array) return value.slice() as T
  if (Array.isArray(value)) return value.map(part => copy(part as MessageValue)) as unknown as T
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, part]) => part !== undefined)
      .map(([key, part]) => [key, copy(part as MessageValue)]),
  ) as T
}

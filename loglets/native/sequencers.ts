// The sequencers that run in this process: started once each, never again (DESIGN 4.4 "a dead or restarted sequencer means a reconfiguration").
//
//   log.sequence   starts one whose placement names this node and this incarnation
//   log.append     from other nodes; a request that comes twice is carried out once

import {
  type Entry,
  LogletClosedError,
  LogletRefusedError,
  LogletSealedError,
  LogletUnavailableError,
  type Position,
} from '../contract.ts'
import type { Message, MessageValue, Net } from '../net.ts'
import type { Clock } from '../ports.ts'
import { count, entryOf, NativeError, nativeErrors, text, verbs } from './messages.ts'
import { decodePlacement, type LogServerId, type SequencerId } from './placement.ts'
import { Sequencer } from './sequencer.ts'

/** Requests of one client that may still come again. */
interface Client {
  /** All requests below were settled at the client: it does not ask again. */
  settled: number
  readonly requests: Map<number, Promise<Position>>
}

interface Running {
  readonly sequencer: Sequencer
  readonly clients: Map<string, Client>
}

export class Sequencers {
  readonly self: SequencerId
  private readonly net: Net
  private readonly clock: Clock
  private readonly running = new Map<string, Running>()
  /** Every id that ever ran here: starting it again would give positions out a second time. */
  private readonly started = new Set<string>()
  private readonly stops: readonly (() => void)[]

  private readonly onReplicated: ((ms: number) => void) | undefined

  /** `onReplicated`: see `SequencerOptions`. */
  constructor(net: Net, clock: Clock, incarnation: string, onReplicated?: (ms: number) => void) {
    this.onReplicated = onReplicated
    this.net = net
    this.clock = clock
    this.self = { node: net.self, incarnation }
    this.stops = [
      net.handle(verbs.sequence, async (_, request) => {
        this.start(text(request, 'id'), text(request, 'placement'), request.options ?? {})
        return {}
      }),
      net.handle(verbs.append, async (_, request) => ({ position: await this.serve(request) })),
    ]
  }

  /** Starts the sequencer of a new loglet. Idempotent while it runs. @throws {NativeError} when it is not for this process, or has ended */
  start(id: string, placementText: string, options: MessageValue): void {
    if (this.running.has(id)) return
    const placement = decodePlacement(placementText)
    const { node, incarnation } = placement.sequencer
    if (
      node !== this.self.node ||
      incarnation !== this.self.incarnation ||
      this.started.has(id) ||
      this.started.size >= startedMax
    )
      throw new NativeError(
        nativeErrors.noSequencer,
        `the sequencer of ${id} cannot run here: it is for ${node}@${incarnation}, this is ${this.self.node}@${this.self.incarnation}`,
      )
    this.started.add(id)
    const { net, clock, onReplicated } = this
    const create = async (server: LogServerId): Promise<void> => {
      const { store } = server
      const request = { id, store, options, placement: placementText }
      await net.call(server.node, verbs.create, request, { timeoutMs: createTimeoutMs })
    }
    const sequencer = new Sequencer({ id, placement, net, clock, create, onReplicated })
    // What its clients asked is remembered after its end: a second copy of a request must not be told that it left no trace.
    this.running.set(id, { sequencer, clients: new Map() })
  }

  find(id: string): Sequencer | undefined {
    return this.running.get(id)?.sequencer
  }

  /** Ends a sequencer for good. */
  stop(id: string): void {
    this.running.get(id)?.sequencer.close()
    this.running.delete(id)
  }

  close(): void {
    for (const stop of this.stops) stop()
    for (const id of this.running.keys()) this.stop(id)
  }

  private async serve(request: Message): Promise<Position> {
    const id = text(request, 'id')
    const running = this.running.get(id)
    if (running === undefined || request.incarnation !== this.self.incarnation)
      throw new NativeError(nativeErrors.noSequencer, `${this.self.node} does not sequence ${id}`)
    const client = clientOf(running, text(request, 'client'))
    const number = count(request, 'request')
    client.settled = Math.max(client.settled, count(request, 'settled'))
    for (const old of client.requests.keys()) if (old < client.settled) client.requests.delete(old)
    if (number < client.settled)
      throw new NativeError(nativeErrors.refused, `request ${number} was settled before`)
    let done = client.requests.get(number)
    if (done === undefined) {
      done = appendCoded(running.sequencer, entryOf(request.entry))
      client.requests.set(number, done)
    }
    return done
  }
}

function clientOf({ clients }: Running, name: string): Client {
  let client = clients.get(name)
  if (client === undefined) {
    client = { settled: 0, requests: new Map() }
    clients.set(name, client)
  }
  return client
}

const createTimeoutMs = 3000
/** Sequencers that one process starts in its life; then it has to be restarted. */
const startedMax = 1_000_000

async function appendCoded(sequencer: Sequencer, entry: Entry): Promise<Position> {
  try {
    return await sequencer.append(entry)
  } catch (error) {
    if (error instanceof LogletSealedError)
      throw new NativeError(
        error.outcome === 'refused' ? sealedBefore : nativeErrors.sealed,
        error.message,
      )
    if (error instanceof LogletRefusedError)
      throw new NativeError(`${nativeErrors.refused}:${error.reason}`, error.message)
    throw error
  }
}

/** The seal came before the append: it left no trace. */
const sealedBefore = 'LOGLET_SEALED_BEFORE'

/** What an append meant that another node answered with this code. */
export function appendErrorOf(code: string, message: string): Error {
  if (code === sealedBefore) return new LogletSealedError(message, 'refused')
  if (code === nativeErrors.sealed) return new LogletSealedError(message, 'unknown')
  const [name, reason] = code.split(':')
  if (name === nativeErrors.refused && (reason === 'backlog' || reason === 'no-space'))
    return new LogletRefusedError(reason, message)
  if (code === 'LOGLET_CLOSED') return new LogletClosedError(message, 'unknown')
  return new LogletUnavailableError(message)
}

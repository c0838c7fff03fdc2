// The sequencer's line to one log server: what it has not stored yet, sent in order, several messages ahead, for ever.
//
//   positions   base           acked            sent             next
//               |--kept, stored--|--on the way----|--to be sent----|
//
// A slow or dead server costs no more than the sequencer keeps anyway: what is committed elsewhere and dropped there is skipped here, which
// the server allows because `knownTail` tells it that those positions are committed.

import type { Entry } from '../contract.ts'
import { type Message, type Net, RemoteError } from '../net.ts'
import type { Clock } from '../ports.ts'
import { count, nativeErrors, type StoreStatus, verbs } from './messages.ts'
import type { LogServerId } from './placement.ts'

/** What a stream needs of its sequencer. */
export interface StreamSource {
  readonly id: string
  readonly incarnation: string
  /** First position that is still kept. */
  readonly base: number
  readonly next: number
  readonly knownTail: number
  /** Entries from `at`, at most about `bytesMax` bytes, at least one when there is one. */
  take(at: number, bytesMax: number): readonly Entry[]
  /** The server stored something, or said that it is sealed. */
  onStored(): void
  /** Makes the loglet on a server that was away when it was made. Rejects when that server cannot have it. */
  create(server: LogServerId): Promise<void>
  onSealed(): void
}

const messageBytesMax = 1 << 20
const messagesInFlightMax = 4
const storeTimeoutMs = 5000
const retryMsMin = 10
const retryMsMax = 500

export class ServerStream {
  /** Everything below is stored there, or was skipped because it is committed. */
  acked = 0
  /** The server's disk is full. */
  full = false
  readonly server: LogServerId
  private readonly source: StreamSource
  private readonly net: Net
  private readonly clock: Clock
  private readonly over = new AbortController()
  private sent = 0
  private told = 0
  private inFlight = 0
  private failed = false
  /** The server said that it has no such loglet. */
  private missing = false
  private retryMs = retryMsMin

  constructor(server: LogServerId, source: StreamSource, net: Net, clock: Clock) {
    this.server = server
    this.source = source
    this.net = net
    this.clock = clock
  }

  /** Sends what there is to send, as far as the window allows. */
  pump(): void {
    const { source } = this
    while (!this.over.signal.aborted && !this.failed && this.inFlight < messagesInFlightMax) {
      if (this.sent < source.base) this.sent = source.base
      const entries = source.take(this.sent, messageBytesMax)
      // Without entries only news of the tail, so that readers of the last entry need not wait for a next one.
      if (entries.length === 0 && (this.inFlight > 0 || this.told >= source.knownTail)) return
      void this.send(this.sent, entries)
      this.sent += entries.length
    }
  }

  stop(): void {
    this.over.abort()
  }

  private async send(at: number, entries: readonly Entry[]): Promise<void> {
    const { id, incarnation, knownTail } = this.source
    const { node, store } = this.server
    this.inFlight++
    this.told = knownTail
    let outcome: StoreStatus | 'failed' | 'gone'
    try {
      const request: Message = { id, store, incarnation, at, entries, knownTail }
      const reply = await this.net.call(node, verbs.store, request, {
        timeoutMs: storeTimeoutMs,
        signal: this.over.signal,
      })
      outcome = reply.status as StoreStatus
      // What is durable there and not below the global tail came from here.
      if (outcome === 'stored') this.acked = Math.max(this.acked, count(reply, 'tail'))
    } catch (error) {
      const gone = error instanceof RemoteError && error.code === nativeErrors.unknownLoglet
      outcome = gone ? 'gone' : 'failed'
    }
    this.inFlight--
    if (this.over.signal.aborted) return
    this.settle(outcome)
  }

  private settle(outcome: StoreStatus | 'failed' | 'gone'): void {
    this.full = outcome === 'full'
    if (outcome === 'stored') {
      this.retryMs = retryMsMin
      this.source.onStored()
    } else if (outcome === 'sealed') {
      this.source.onSealed()
      return
    } else if (outcome === 'foreign') {
      this.stop()
      return
    } else this.failed = true
    this.missing ||= outcome === 'gone'
    if (!this.failed) this.pump()
    else if (this.inFlight === 0) void this.startAgain()
  }

  /** After the last message of a window that failed: from what is known to be there. */
  private async startAgain(): Promise<void> {
    const pauseMs = this.retryMs
    this.retryMs = Math.min(this.retryMs * 2, retryMsMax)
    try {
      await this.clock.sleep(pauseMs, this.over.signal)
      if (this.missing) await this.source.create(this.server)
    } catch (error) {
      if (this.over.signal.aborted) return
      // It has lost its copy, or has dropped it: that will not change.
      if (error instanceof RemoteError && error.code === nativeErrors.unknownLoglet) this.stop()
      else void this.startAgain()
      return
    }
    this.missing = false
    this.failed = false
    this.sent = this.acked
    this.told = 0
    this.pump()
  }
}

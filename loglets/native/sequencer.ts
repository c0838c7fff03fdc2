// The sequencer of one native loglet: gives every entry its position and brings it to a majority of the log servers (delos.md 1.5).
//
// Guarantees: an ack means that a majority stored the entry and everything before it. An append is never given up nor moved: it is retried at
// its position until it is committed or the loglet is sealed. Its counter is volatile: it lives once, in one incarnation of one process, and
// is never started a second time (native-provider.ts sees to that). It holds no election and knows no successor.

import {
  type Entry,
  LogletClosedError,
  LogletRefusedError,
  LogletSealedError,
  type Position,
  position,
} from '../contract.ts'
import { majority } from '../majority.ts'
import { bytesOf } from '../entry-size.ts'
import type { Net } from '../net.ts'
import type { Clock } from '../ports.ts'
import { type LogServerId, type NativePlacement } from './placement.ts'
import { ServerStream, type StreamSource } from './server-stream.ts'

export interface SequencerOptions {
  readonly id: string
  readonly placement: NativePlacement
  readonly net: Net
  readonly clock: Clock
  /** Makes the loglet on a server that was away when it was made. */
  readonly create: (server: LogServerId) => Promise<void>
  /** A majority has stored an entry, so long after it came, ms. Called on the hot path. */
  readonly onReplicated?: ((ms: number) => void) | undefined
}

interface Kept {
  /** When it came, by the monotonic clock, ms. */
  readonly at: number
  readonly entry: Entry
  readonly bytes: number
  readonly resolve: (at: Position) => void
  readonly reject: (error: Error) => void
}

/** Entries that wait for a majority; beyond it appends are refused. */
const backlogBytesMax = 64 << 20
/** Committed entries kept for servers that are behind; beyond it those skip them. */
const keptBytesMax = 32 << 20
const entryOverheadBytes = 256

export class Sequencer implements StreamSource {
  readonly id: string
  readonly incarnation: string
  base = 0
  private readonly majority: number
  private readonly streams: readonly ServerStream[]
  readonly create: (server: LogServerId) => Promise<void>
  /** Of positions from `base` on. */
  private kept: Kept[] = []
  private committed = 0
  private waitingBytes = 0
  private keptBytes = 0
  private ended: Error | undefined
  private pumping = false

  private readonly clock: Clock
  private readonly onReplicated: ((ms: number) => void) | undefined

  constructor({ id, placement, net, clock, create, onReplicated }: SequencerOptions) {
    this.id = id
    this.clock = clock
    this.onReplicated = onReplicated
    this.incarnation = placement.sequencer.incarnation
    this.majority = majority(placement.servers.length)
    this.create = create
    this.streams = placement.servers.map(server => new ServerStream(server, this, net, clock))
  }

  get next(): number {
    return this.base + this.kept.length
  }

  get knownTail(): number {
    return this.committed
  }

  append(entry: Entry): Promise<Position> {
    if (this.ended !== undefined) return Promise.reject(this.ended)
    const bytes = entryOverheadBytes + bytesOf(entry)
    if (this.waitingBytes + bytes > backlogBytesMax)
      return Promise.reject(
        new LogletRefusedError(
          'backlog',
          `loglet ${this.id} has ${this.waitingBytes} bytes waiting for a majority, the limit is ${backlogBytesMax}`,
        ),
      )
    if (this.streams.filter(stream => !stream.full).length < this.majority)
      return Promise.reject(
        new LogletRefusedError(
          'no-space',
          `the disks of too many log servers of loglet ${this.id} are full: ${this.majority} are needed`,
        ),
      )
    return new Promise((resolve, reject) => {
      this.kept.push({ at: this.clock.now(), entry, bytes, resolve, reject })
      this.waitingBytes += bytes
      this.pumpSoon()
    })
  }

  take(at: number, bytesMax: number): readonly Entry[] {
    const entries: Entry[] = []
    let bytes = 0
    for (let i = at - this.base; i < this.kept.length; i++) {
      const kept = this.kept[i] as Kept
      if (entries.length > 0 && bytes + kept.bytes > bytesMax) break
      entries.push(kept.entry)
      bytes += kept.bytes
    }
    return entries
  }

  onStored(): void {
    const tails = this.streams.map(stream => stream.acked).sort((a, b) => b - a)
    const reached = Math.min(tails[this.majority - 1] ?? 0, this.next)
    if (reached > this.committed) this.commit(reached)
    this.drop()
  }

  /** One server is enough: whoever sealed it goes on to seal the rest. */
  onSealed(): void {
    this.end(new LogletSealedError(`loglet ${this.id} was sealed`, 'unknown'))
  }

  close(): void {
    this.end(new LogletClosedError(`the sequencer of loglet ${this.id} has ended`, 'unknown'))
  }

  private end(error: LogletSealedError | LogletClosedError): void {
    if (this.ended !== undefined) return
    // What comes later never started.
    this.ended =
      error instanceof LogletSealedError
        ? new LogletSealedError(error.message, 'refused')
        : new LogletClosedError(error.message, 'refused')
    for (const stream of this.streams) stream.stop()
    for (const { reject } of this.kept.slice(this.committed - this.base)) reject(error)
    this.kept = []
    this.base = this.committed
  }

  /** What is appended in one turn goes in one message. */
  private pumpSoon(): void {
    if (this.pumping) return
    this.pumping = true
    void Promise.resolve().then(() => {
      this.pumping = false
      for (const stream of this.streams) stream.pump()
    })
  }

  private commit(reached: number): void {
    const from = this.committed
    this.committed = reached
    const now = this.clock.now()
    for (let at = from; at < reached; at++) {
      const kept = this.kept[at - this.base] as Kept
      this.onReplicated?.(now - kept.at)
      this.waitingBytes -= kept.bytes
      this.keptBytes += kept.bytes
      kept.resolve(position(at))
    }
    this.pumpSoon()
  }

  /** Forgets what every server has, and more when the slow ones cost too much. */
  private drop(): void {
    let low = this.committed
    for (const stream of this.streams) low = Math.min(low, stream.acked)
    let count = Math.max(0, low - this.base)
    let bytes = 0
    for (let i = 0; i < count; i++) bytes += (this.kept[i] as Kept).bytes
    while (this.keptBytes - bytes > keptBytesMax && this.base + count < this.committed)
      bytes += (this.kept[count++] as Kept).bytes
    if (count === 0) return
    this.kept.splice(0, count)
    this.base += count
    this.keptBytes -= bytes
  }
}

// One member of a group: joins, joins again on every new connection, and says what the broker says. It knows nothing of records.
//
// Guarantees: assignments arrive whole and in order; commits go one at a time with growing sequences, so the newest wins; a member that was put out
// joins again under a new id, and its owner hears first that everything is lost.

import { type Frame, LogloomError, type WireError } from '../../wire/index.ts'
import { fullJitterMs, pause } from '../clock.ts'
import { checkAssignment } from '../checked.ts'
import type { Connection } from '../connection.ts'
import { asLogloomError, isTransient } from '../failures.ts'
import type { Link } from '../link.ts'
import { topicName } from '../topic.ts'
import type { ConsumerSettings } from './consumer-options.ts'

export interface Place {
  readonly topic: string
  readonly partition: number
  readonly generation: number
}

/** A partition that is this member's. */
export interface AssignedPlace extends Place {
  /** Committed; undefined when nothing is. */
  readonly offset: number | undefined
  /** Up to where the group lets it be read, for now or without end. */
  readonly until: number
  /** Partitions of the topic when that was said. */
  readonly partitions: number
}

export interface Assignment {
  readonly assigned: readonly AssignedPlace[]
  readonly revoking: readonly Place[]
}

export interface CommitPlace extends Place {
  readonly offset: number
  readonly metadata?: string
}

export interface GroupMemberEvents {
  /** Before the next commit asks what there is to commit. */
  readonly onCommitted: (places: readonly CommitPlace[]) => void
  readonly onAssignment: (assignment: Assignment) => void
  /** The membership is over, and what was held is another's; a new one begins unless `error` is final. */
  readonly onLost: (error: LogloomError) => void
  /** Nothing more will happen. */
  readonly onFailed: (error: LogloomError) => void
}

export class GroupMember {
  readonly #connection: Connection
  readonly #settings: ConsumerSettings
  readonly #events: GroupMemberEvents
  readonly #stopListening: () => void
  readonly #stop = new AbortController()
  #id = newMemberId()
  #stopPushes: () => void = () => {}
  #sequence = 0
  #committing: Promise<unknown> = Promise.resolve()
  /** Some join of it has been sent: it may take effect although nobody waits for the answer any more. */
  #asked = false

  constructor(connection: Connection, settings: ConsumerSettings, events: GroupMemberEvents) {
    this.#connection = connection
    this.#settings = settings
    this.#events = events
    this.#stopListening = connection.onLink(link => {
      if (link) void this.#join(link)
      else this.#fail(connection.closedBy as LogloomError)
    })
    if (connection.link) void this.#join(connection.link)
  }

  get id(): string {
    return this.#id
  }

  /**
   * `places` is asked for once every earlier commit is over; nothing is sent for none.
   * @throws STALE_GENERATION, UNKNOWN_MEMBER: nothing was committed; CONNECTION_CLOSED, TIMEOUT: nobody knows
   */
  async commit(places: () => readonly CommitPlace[]): Promise<void> {
    await this.#inTurn(places, async fields => {
      await this.#connection.call('commitOffsets', fields)
    })
  }

  /** Runs `send` with the fields of a commit, once every earlier commit is over. */
  withCommit<R>(places: readonly CommitPlace[], send: (fields: Frame) => Promise<R>): Promise<R> {
    return this.#inTurn(() => places, send) as Promise<R>
  }

  /** Undefined when there is nothing to commit. */
  #inTurn<R>(
    placesNow: () => readonly CommitPlace[],
    send: (fields: Frame) => Promise<R>,
  ): Promise<R | undefined> {
    const run = this.#committing.then(async () => {
      const places = placesNow()
      if (places.length === 0) return undefined
      const result = await send({
        group: this.#settings.groupId,
        memberId: this.#id,
        sequence: ++this.#sequence,
        offsets: places.map(place => ({ ...place })),
      })
      this.#events.onCommitted(places)
      return result
    })
    this.#committing = run.catch(() => {})
    return run
  }

  /** Gives back what was asked back. */
  async release(places: readonly Place[]): Promise<void> {
    const { groupId: group } = this.#settings
    const partitions = places.map(({ topic, partition, generation }) => {
      return { topic, partition, generation }
    })
    try {
      await this.#connection.call('releasePartitions', { group, memberId: this.#id, partitions })
    } catch {
      // A member that is out has nothing to give; a broker that is away asks again at the next join.
    }
  }

  /** Leaves the group, so that others need not wait for the session timeout; with an instance id its place is kept for that long. */
  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return
    this.#stop.abort()
    this.#stopListening()
    this.#stopPushes()
    await this.#committing
    const { groupId: group, groupInstanceId } = this.#settings
    if (!this.#asked || this.#connection.closedBy) return
    const link = this.#connection.link
    if (!link) return
    // Once, and not for long: who cannot say goodbye is missed after the session timeout.
    const fields = { group, memberId: this.#id, stay: groupInstanceId !== undefined }
    await link.channel.request('leaveGroup', fields, { timeoutMs: leaveMs }).catch(() => {})
  }

  async #join(link: Link): Promise<void> {
    const { clock, backoff, requestTimeoutMs } = this.#connection
    const { groupId, groupInstanceId, topics, pattern, assignor } = this.#settings
    const { sessionTimeoutMs, rebalanceTimeoutMs } = this.#settings
    for (let attempt = 0; !this.#stop.signal.aborted && this.#connection.link === link; attempt++) {
      const memberId = this.#id
      this.#stopPushes()
      // Pushes may come before the reply; they are newer than it.
      let pushed = false
      this.#stopPushes = link.onAssignment(groupId, memberId, frame => {
        pushed = true
        this.#hear(link, frame)
      })
      try {
        const fields = {
          group: groupId,
          memberId,
          topics: topics.map(topicName),
          ...(pattern === undefined ? {} : { pattern }),
          ...(groupInstanceId === undefined ? {} : { groupInstanceId }),
          assignor,
          sessionTimeoutMs,
          rebalanceTimeoutMs,
        }
        this.#asked = true
        const reply = await link.channel.request('joinGroup', fields, {
          timeoutMs: requestTimeoutMs,
        })
        checkAssignment(reply)
        if (!pushed && !this.#stop.signal.aborted) this.#hear(link, reply)
        return
      } catch (error) {
        const known = asLogloomError(error)
        if (this.#connection.link !== link) return
        if (!isTransient(known)) {
          this.#fail(known)
          return
        }
        await pause(clock, fullJitterMs(attempt, backoff, clock), this.#stop.signal)
      }
    }
  }

  #hear(link: Link, frame: Frame): void {
    if (this.#stop.signal.aborted || this.#connection.link !== link) return
    if (frame['error'] === undefined) {
      this.#events.onAssignment(assignmentOf(frame))
      return
    }
    const error = LogloomError.fromWire(frame['error'] as WireError)
    this.#events.onLost(error)
    if (error.code !== 'UNKNOWN_MEMBER') {
      this.#fail(error)
      return
    }
    this.#id = newMemberId()
    this.#sequence = 0
    void this.#join(link)
  }

  #fail(error: LogloomError): void {
    if (this.#stop.signal.aborted) return
    this.#stop.abort()
    this.#stopListening()
    this.#stopPushes()
    this.#events.onFailed(error)
  }
}

const leaveMs = 5000

function newMemberId(): string {
  return globalThis.crypto.randomUUID()
}

function assignmentOf(frame: Frame): Assignment {
  const rows = (key: string): readonly Frame[] => (frame[key] as readonly Frame[] | undefined) ?? []
  const placeOf = (row: Frame): Place => ({
    topic: String(row['topic']),
    partition: Number(row['partition']),
    generation: Number(row['generation']),
  })
  return {
    assigned: rows('assigned').map(row => ({
      ...placeOf(row),
      offset: typeof row['offset'] === 'number' ? row['offset'] : undefined,
      until: Number(row['until'] ?? Number.POSITIVE_INFINITY),
      partitions: Number(row['partitions'] ?? Number.POSITIVE_INFINITY),
    })),
    revoking: rows('revoking').map(placeOf),
  }
}

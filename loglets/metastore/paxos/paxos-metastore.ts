// The MetaStore on the cluster's own nodes (DESIGN 4.3; delos.md 1.4): a register that a majority keeps, read and written in two round trips.
//
// Guarantees: one record per instance, whoever proposes; a write that resolved `ok` is on a majority; a read sees every write that ended
// before it began, and finishes one that may have. Safe under any number of proposers, lost and repeated messages and restarts; it goes on
// while a majority answers. Which nodes those are is itself in the register.

import { setMaxListeners } from 'node:events'
import { majority } from '../../majority.ts'
import type { Message, Net } from '../../net.ts'
import type { Clock, Random } from '../../ports.ts'
import type { MetaStore, NoteStore, WriteResult } from '../metastore.ts'
import { type Acceptor, registerVerbs } from './acceptor.ts'
import {
  type Ballot,
  ballotMessage,
  ballotOf,
  ForeignRegisterError,
  isBelow,
  isSameRegister,
  noBallot,
  nodeOf,
  recordMessage,
  recordOf,
  type RegisterMember,
  type RegisterRecord,
} from './record.ts'

export interface PaxosMetaStoreOptions {
  readonly net: Net
  readonly clock: Clock
  readonly random: Random
  /** Of this node; also learns what is decided. */
  readonly acceptor: Acceptor
  /** Of this process. */
  readonly incarnation: string
  readonly notes?: NoteStore
}

/** Too few nodes answer, or too many propose at once. Nobody knows whether a write came in: read again. */
export class MetaStoreUnavailableError extends Error {
  override readonly name: string = 'MetaStoreUnavailableError'
  readonly code = 'METASTORE_UNAVAILABLE'
}

class OutcomeHiddenError extends MetaStoreUnavailableError {}

const callTimeoutMs = 1000
const triesMax = 12
const backOffMsMin = 5
const backOffMsMax = 250
/** Of a value; a chain of 10,000 segments stays below. */
const valueBytesMax = 8 << 20

interface Reply {
  readonly status: string
  readonly decided: RegisterRecord
  readonly promised: Ballot
  readonly accepted: { readonly ballot: Ballot; readonly record: RegisterRecord } | undefined
}

/** What a try found out. */
type Outcome =
  | { readonly kind: 'decided'; readonly record: RegisterRecord }
  /** Somebody is past this instance. */
  | { readonly kind: 'behind'; readonly record: RegisterRecord }
  | { readonly kind: 'outbid'; readonly ballot: Ballot }

export class PaxosMetaStore implements MetaStore {
  readonly notes?: NoteStore
  private readonly options: PaxosMetaStoreOptions
  private readonly closing = new AbortController()
  private round = 0
  private proposals = 0

  constructor(options: PaxosMetaStoreOptions) {
    this.options = options
    // One listener per call.
    setMaxListeners(0, this.closing.signal)
    if (options.notes !== undefined) this.notes = options.notes
  }

  /** @throws {MetaStoreUnavailableError} */
  async read(): Promise<{ readonly value: Uint8Array | undefined; readonly version: number }> {
    const { value, version } = await this.newest()
    return { value, version }
  }

  /** @throws {MetaStoreUnavailableError} when nobody knows, RangeError for a value that is too large */
  async write(value: Uint8Array, expectedVersion: number): Promise<WriteResult> {
    if (value.length > valueBytesMax)
      throw new RangeError(
        `the value has ${value.length} bytes, the limit is ${valueBytesMax} (valueBytesMax): trim the log`,
      )
    const id = this.newId()
    const written = await this.change(id, newest =>
      newest.version === expectedVersion
        ? { ...next(newest, id), version: newest.version + 1, value: value.slice() }
        : undefined,
    )
    if (written.id === id) return { ok: true, version: written.version }
    return { ok: false, version: written.version, value: written.value }
  }

  /** Who keeps the register now. */
  async members(): Promise<readonly RegisterMember[]> {
    return (await this.newest()).members
  }

  /** Lets `members` keep the register from now on, if `expected` still do. The value stays. @returns who keeps it now */
  async changeMembers(
    expected: readonly RegisterMember[],
    members: readonly RegisterMember[],
  ): Promise<readonly RegisterMember[]> {
    if (members.length === 0) throw new RangeError('a register needs at least one member')
    const id = this.newId()
    const same = (other: readonly RegisterMember[]): boolean => other.join() === expected.join()
    const written = await this.change(id, record =>
      same(record.members) ? { ...next(record, id), members } : undefined,
    )
    return written.members
  }

  close(): void {
    this.closing.abort(new MetaStoreUnavailableError('the metastore is closed'))
  }

  /** The newest record that was decided before this call began, or a newer one. */
  private newest(): Promise<RegisterRecord> {
    return this.change(this.newId(), () => undefined)
  }

  /**
   * Proposes what `step` makes of the newest record, until it is decided or `step` has nothing to propose. Returns the newest record.
   * A read is a change that proposes nothing, but finishes what somebody else may have got decided.
   */
  private async change(
    id: string,
    step: (newest: RegisterRecord) => RegisterRecord | undefined,
  ): Promise<RegisterRecord> {
    const { acceptor, clock, random } = this.options
    let known = await acceptor.decided()
    let backOffMs = backOffMsMin
    let failure = ''
    /** The last instance for which our proposal may have come in. */
    let proposedAt = Number.POSITIVE_INFINITY
    for (let tries = 0; tries < triesMax; ) {
      this.closing.signal.throwIfAborted()
      try {
        const proposal = step(known)
        if (proposal !== undefined) proposedAt = proposal.instance
        const outcome = await this.tryOnce(known, proposal)
        if (outcome.kind === 'outbid') this.round = Math.max(this.round, outcome.ballot.round)
        else {
          const isNews = outcome.record.instance > known.instance
          if (isNews) await this.tell(known, outcome.record)
          known = outcome.record
          // Ours, perhaps finished by another.
          if (known.id === id) return known
          // What was decided where we proposed is hidden by what came after it.
          if (known.instance > proposedAt)
            throw new OutcomeHiddenError('the register went on: nobody knows what was decided')
          if (outcome.kind === 'decided' && step(known) === undefined) return known
          continue
        }
      } catch (error) {
        if (!(error instanceof MetaStoreUnavailableError) || error instanceof OutcomeHiddenError)
          throw error
        failure = error.message
      }
      tries++
      await clock.sleep(backOffMs * (0.5 + random.next()), this.closing.signal)
      backOffMs = Math.min(backOffMs * 2, backOffMsMax)
    }
    throw new MetaStoreUnavailableError(
      `the register could not be ${failure === '' ? 'changed: too many propose at once' : `reached: ${failure}`}`,
    )
  }

  /** One instance, the one after `known`: looks, and proposes when there is something to propose or to finish. */
  private async tryOnce(
    known: RegisterRecord,
    proposal: RegisterRecord | undefined,
  ): Promise<Outcome> {
    if (proposal === undefined) {
      const replies = await this.ask(known, registerVerbs.read, {})
      const behind = newer(replies, known)
      if (behind !== undefined) return behind
      // Nobody of a majority has accepted anything: no write can have ended before this read began.
      if (replies.every(reply => reply.accepted === undefined))
        return { kind: 'decided', record: known }
    }
    const ballot = this.nextBallot()
    const before = recordMessage(known)
    const promises = await this.ask(known, registerVerbs.prepare, {
      before: before,
      ballot: ballotMessage(ballot),
    })
    const verdict = judge(promises, known, 'promised')
    if (verdict !== undefined) return verdict
    let accepted: Reply['accepted']
    for (const reply of promises)
      if (
        reply.accepted !== undefined &&
        (accepted === undefined || isBelow(accepted.ballot, reply.accepted.ballot))
      )
        accepted = reply.accepted
    // What may have been decided must be proposed, whoever it was from.
    const record = accepted?.record ?? proposal
    if (record === undefined) return { kind: 'decided', record: known }
    const acceptances = await this.ask(known, registerVerbs.accept, {
      before: before,
      ballot: ballotMessage(ballot),
      record: recordMessage(record),
    })
    return judge(acceptances, known, 'accepted') ?? { kind: 'decided', record }
  }

  /** Asks the members; resolves with the replies of a majority of them. */
  private async ask(
    known: RegisterRecord,
    verb: string,
    request: Message,
  ): Promise<readonly Reply[]> {
    const { net } = this.options
    const { members } = known
    const wanted = majority(members.length)
    const replies: Reply[] = []
    const failures: string[] = []
    return new Promise((resolve, reject) => {
      const done = (): void => {
        if (replies.length >= wanted) resolve(replies.slice())
        else if (members.length - failures.length < wanted)
          reject(
            new MetaStoreUnavailableError(
              `${wanted} of ${members.length} nodes are needed: ${failures.join('; ')}`,
            ),
          )
      }
      for (const member of members) {
        const options = { timeoutMs: callTimeoutMs, signal: this.closing.signal }
        net
          .call(nodeOf(member), verb, request, options)
          .then(reply => replyOf(reply, member, known))
          .then(
            reply => {
              replies.push(reply)
              done()
            },
            error => {
              failures.push(`${member}: ${(error as Error).message}`)
              done()
            },
          )
      }
    })
  }

  /** Spreads what was decided; who is not reached learns it when it is asked next. */
  private async tell(before: RegisterRecord, record: RegisterRecord): Promise<void> {
    const { net, acceptor } = this.options
    // A disk that takes nothing now keeps this node from remembering, not from knowing.
    await acceptor.hear(record).catch(() => {})
    const request = { record: recordMessage(record) }
    const nodes = new Set([...before.members, ...record.members].map(nodeOf))
    nodes.delete(net.self)
    for (const node of nodes)
      net.call(node, registerVerbs.learn, request, { timeoutMs: callTimeoutMs }).catch(() => {})
  }

  private nextBallot(): Ballot {
    this.round++
    return { round: this.round, by: `${this.options.net.self}/${this.options.incarnation}` }
  }

  private newId(): string {
    return `${this.options.net.self}/${this.options.incarnation}/${this.proposals++}`
  }
}

/** What follows `record`, but for what changes. */
function next(record: RegisterRecord, id: string): RegisterRecord {
  const { instance, birth } = record
  return { ...record, instance: instance + 1, id, birth: instance === 0 ? id : birth }
}

/** A majority of the answers agreed, or this is why not. */
function judge(
  replies: readonly Reply[],
  known: RegisterRecord,
  wanted: 'promised' | 'accepted',
): Outcome | undefined {
  const behind = newer(replies, known)
  if (behind !== undefined) return behind
  if (replies.every(reply => reply.status === wanted)) return undefined
  const ballot = replies.reduce(
    (highest, { promised }) => (isBelow(highest, promised) ? promised : highest),
    noBallot,
  )
  return { kind: 'outbid', ballot }
}

function newer(replies: readonly Reply[], known: RegisterRecord): Outcome | undefined {
  const [first] = [...replies].sort((a, b) => b.decided.instance - a.decided.instance)
  if (first === undefined || first.decided.instance <= known.instance) return undefined
  return { kind: 'behind', record: first.decided }
}

/** @throws when it comes from another data directory than the member's, or from another register */
function replyOf(reply: Message, member: RegisterMember, known: RegisterRecord): Reply {
  const { status, store } = reply
  const decided = recordOf(reply.decided)
  const [, wantedStore] = member.split('@')
  if (wantedStore !== undefined && wantedStore !== store)
    throw new Error(`its data directory is not the one that has the vote (${wantedStore})`)
  if (!isSameRegister(known, decided))
    throw new ForeignRegisterError(
      `it belongs to another cluster, which began as ${decided.birth}, this one as ${known.birth}`,
    )
  const accepted = reply.accepted as { ballot: never; record: never } | null
  return {
    status: typeof status === 'string' ? status : '',
    decided,
    promised: ballotOf(reply.promised),
    accepted:
      accepted === null || accepted === undefined
        ? undefined
        : { ballot: ballotOf(accepted.ballot), record: recordOf(accepted.record) },
  }
}

// One WebSocket connection: hello, requests in flight, replies, pushes, and the bounds that keep a peer from costing more than its share
// (protocol.md 1.2, docs/limits.md).
//
//   in    requests in flight (number, bytes) or output waiting beyond a limit, or a quota not paid for ⇒ the socket is not read
//   out   output beyond `outputBytesHigh` ⇒ pushes and fetches wait; unread for `slowConsumerMs`, or beyond `outputBytesMax` ⇒ 3008
//
// Knows nothing of what operations mean. A closed connection takes nothing new and sends nothing more, but counts until its socket is gone.

import { LogloomError } from '../../wire/errors.ts'
import { type Frame, packFrame, packFrameHead, unpackFrame } from '../../wire/frame.ts'
import type { ServerSocket } from '../../wire/server.ts'
import type { Access } from '../security/authorizer.ts'
import { anonymous, identityOf, type Principal } from '../security/principal.ts'
import { asUnavailable } from '../unavailable.ts'
import { auditLine, isAudited } from './audit.ts'
import type { GatewayContext } from './context.ts'
import { credentialOf, helloReply, checkHello } from './hello.ts'
import type { Account, ThrottleKind } from './load/account.ts'
import { requestOverheadBytes } from './load/memory-budget.ts'
import { ShedLanes } from './load/shed-lanes.ts'
import { withoutStack } from './load/without-stack.ts'
import { Memberships } from './memberships.ts'
import { operations } from './operations.ts'
import { Output, type Reservation } from './output.ts'
import { permit } from './permissions.ts'
import { LaneCounter } from './produce.ts'
import { count } from './stats.ts'
import { credit, type Subscription } from './subscription.ts'
import { isTurnOver, mustWait, standInLine, turnNow } from './turn.ts'

export const closeCode = {
  goingAway: 1001,
  policy: 1008,
  tryLater: 1013,
  expired: 3005,
  slow: 3008,
} as const

/** What one request holds while it runs. */
export interface Call extends Reservation {
  /** Time it waited for records to come: no part of its duration. */
  parkedMs: number
  /** Batch bytes of its reply. */
  readBytes: number
  /** When the log's answer to a produce was known, by the monotonic clock. */
  decidedAt?: number
}

let connectionsMade = 0
const clientNameShown = 100
/** A hello is small: nobody who is not known yet may send more. */
const helloBytesMax = 65_536
/** Frames that wait while it is found out who sent them. */
const waitingFramesMax = 64
/** Tries to say anew who one is, on one connection. */
const credentialTriesMax = 5
/** Pings and pongs of the peer between two sweeps, half a second. */
const pingsPerSweepMax = 50
/** What a peer that broke a rule may still send, until its own close frame is seen. */
const restBytesMax = 8 << 20
/** Writes that are refused for lack of room in one second before whoever goes on sending is not read for a while. */
const shedsPerSecondMax = 200
const shedMuteMs = 200
/** From the close frame until the socket is dropped, whether it was answered or not. */
const closeWaitMsMax = 5000
/** How often a debt is looked at again: the quota may have changed. */
const debtLookMs = 1000

export class Connection {
  closed = false
  private closedAt = 0
  /** The broker is about to stop: what waits for records answers now. */
  leaving = false
  readonly output: Output
  /** What it may do; undefined: everything. */
  access: Access | undefined
  private who: Principal = anonymous
  /** Of this process: no other connection ever has it. */
  readonly id = ++connectionsMade
  private readonly openedAt = Date.now()
  /** As it called itself. */
  private client = ''
  private readonly context: GatewayContext
  private readonly socket: ServerSocket
  private greeted = false
  private readonly offeredToken: string | undefined
  /** Came while it was found out who is there. */
  private waiting: Uint8Array[] | undefined
  private credentialTries = 0
  private requestsInFlight = 0
  private bytesInFlight = 0
  private paused = false
  /** Messages that came when the turn of the event loop, or a burst in it, had had its share, the oldest first: at most what one chunk of the socket held. */
  private late: Uint8Array[] | undefined
  /** The turn of its last message that did not wait. */
  private servedIn = -1
  /** Not read until a quota is paid for. */
  private mutedUntil: number | undefined
  private cancelMute: (() => void) | undefined
  private cancelPump: (() => void) | undefined
  private shedLanes: ShedLanes | undefined
  private sheds = 0
  private shedsSince = 0
  private pings = 0
  /** It broke a rule, and was sent a close frame for it. */
  private refused = false
  private restBytes = 0
  private partialBytes = 0
  /** Since when the same message has been coming in. */
  private partialSince: number | undefined
  private answeredPing = true
  private lanes: LaneCounter | undefined
  private ownMemberships: Memberships | undefined
  private subscriptions: Map<number, Subscription> | undefined
  private nextSubscription = 1
  private pumping: Set<Subscription> | undefined
  /** Subscriptions that have more to push than the output takes, longest waiting first. */
  private stalled: Set<Subscription> | undefined
  private parked: Set<() => void> | undefined
  private rechecks: Set<() => void> | undefined
  private cancelHello: () => void
  private readonly onGone: (connection: Connection) => void
  /** Its principal's; set by the hello. */
  private account: Account | undefined

  /** `onGone` is called once, when the socket is gone. */
  constructor(
    context: GatewayContext,
    socket: ServerSocket,
    onGone: (connection: Connection) => void,
    /** Of the subprotocol. */
    offeredToken?: string,
  ) {
    this.offeredToken = offeredToken
    this.context = context
    this.socket = socket
    this.output = new Output(socket, context.settings, context.load.budget)
    this.onGone = onGone
    socket.onMessage = bytes => this.receive(bytes)
    socket.onText = () =>
      this.refuse(
        new LogloomError('BAD_FRAME', 'text messages are not part of the protocol; send binary'),
      )
    socket.onClose = code => {
      this.end(code)
      this.output.gone()
      this.onGone(this)
    }
    socket.onPong = () => {
      this.answeredPing = true
      this.countPing()
    }
    socket.onPing = () => this.countPing()
    socket.onFault = () => {
      this.refused = true
    }
    socket.watchBytes(bytes => this.afterPiece(bytes))
    socket.onDrain = () => this.afterOutput()
    const { helloTimeoutMs } = context.settings
    this.cancelHello = context.timers.after(helloTimeoutMs, () =>
      this.refuse(
        new LogloomError('HELLO_REQUIRED', `no hello within ${helloTimeoutMs} ms (helloTimeoutMs)`),
      ),
    )
  }

  /** Who it is; set by the hello. */
  get principal(): Principal {
    return this.who
  }

  set principal(principal: Principal) {
    this.who = principal
    this.access = this.context.authorizer.accessOf(principal)
    this.recheck()
  }

  /** Sends a frame that answers nothing. */
  push(frame: Frame): void {
    this.send(frame)
  }

  /** Sends a frame that answers nothing, with a last field that is packed already. */
  pushPacked(frame: Frame, lastKey: string, packed: Uint8Array): void {
    if (!this.closed) this.write(packFrameHead(frame, lastKey), packed)
  }

  /** Runs a subscription's pump at the end of this turn, with all others that are due. */
  pumpSoon(subscription: Subscription): void {
    if (this.pumping === undefined) {
      this.pumping = new Set()
      setImmediate(() => this.pumpAll())
    }
    this.pumping.add(subscription)
  }

  /** Runs a subscription's pump once there is room again, and its quota is paid for. */
  pumpLater(subscription: Subscription): void {
    this.stalled ??= new Set()
    this.stalled.add(subscription)
    // Who waits for the output hears of it by itself.
    if (this.output.isFull) return
    const { load, timers } = this.context
    const waitMs = Math.min(this.readDebtMs, debtLookMs)
    if (waitMs === 0 && load.budget.isExhausted) load.budget.whenLess(this.pumpStalled)
    else this.cancelPump ??= timers.after(waitMs, this.pumpStalled)
  }

  /** Whether something may be pushed now. */
  get mayPush(): boolean {
    return !this.output.isFull && !this.context.load.budget.isExhausted && this.readDebtMs === 0
  }

  /** A subscription pushes batches of so many bytes. @returns ms that its principal has to wait for more */
  payForPush(bytes: number): number {
    const { account } = this
    return account === undefined || account.isFree ? 0 : this.pay(account, 'consume', bytes)
  }

  private get readDebtMs(): number {
    const { account } = this
    if (account === undefined || account.isFree) return 0
    this.context.load.accounts.refresh(account)
    return account.debtMs('consume', performance.now())
  }

  /** @throws LIMIT_EXCEEDED when the lane has too much in flight */
  enterLane(lane: string): () => void {
    this.lanes ??= new LaneCounter()
    return this.lanes.enter(lane)
  }

  /** @throws LIMIT_EXCEEDED, THROTTLED */
  addSubscription(make: (id: number) => Subscription): Subscription {
    this.subscriptions ??= new Map()
    const limit = this.context.settings.subscriptionsMax
    if (this.subscriptions.size >= limit)
      throw new LogloomError(
        'LIMIT_EXCEEDED',
        `a connection has at most ${limit} subscriptions (subscriptionsMax)`,
        { limit },
      )
    if (this.closed) throw new LogloomError('CONNECTION_CLOSED', 'the connection is closed')
    const room = this.context.load.subscriptions
    const account = this.account as Account
    room.add(account)
    let subscription: Subscription
    try {
      subscription = make(this.nextSubscription++)
    } catch (error) {
      room.remove(account, 1)
      throw error
    }
    this.subscriptions.set(subscription.id, subscription)
    return subscription
  }

  /** Members of groups that joined, or are joining, on this connection. */
  get memberships(): Memberships {
    this.ownMemberships ??= new Memberships()
    return this.ownMemberships
  }

  findSubscription(id: number): Subscription | undefined {
    return this.subscriptions?.get(id)
  }

  /** @throws UNKNOWN_SUBSCRIPTION */
  subscription(id: number): Subscription {
    const found = this.findSubscription(id)
    if (found === undefined)
      throw new LogloomError('UNKNOWN_SUBSCRIPTION', `this connection has no subscription ${id}`, {
        sub: id,
      })
    return found
  }

  forgetSubscription(id: number): void {
    if (this.subscriptions?.delete(id) === true)
      this.context.load.subscriptions.remove(this.account as Account, 1)
  }

  /** Calls `fn` when the connection ends or is about to. Returns the way to forget it. */
  onLeaving(fn: () => void): () => void {
    this.parked ??= new Set()
    this.parked.add(fn)
    return () => {
      this.parked?.delete(fn)
    }
  }

  /** Calls `fn` when rights may have changed. Returns the way to forget it. */
  onRecheck(fn: () => void): () => void {
    this.rechecks ??= new Set()
    this.rechecks.add(fn)
    return () => {
      this.rechecks?.delete(fn)
    }
  }

  /** Rights may have changed: ends what is not allowed any more. */
  recheck(): void {
    const { access, rechecks } = this
    if (access === undefined || this.closed) return
    for (const subscription of this.subscriptions?.values() ?? []) subscription.recheck()
    this.ownMemberships?.recheck(access)
    this.rechecks = undefined
    for (const wake of rechecks ?? []) wake()
  }

  /** Counts and tells a request that was denied, or what had begun and is denied now. */
  denied(op: string, { details }: LogloomError): void {
    const { operation, resource, name } = details
    this.context.onDenied({
      ...identityOf(this.who),
      address: this.socket.remoteAddress,
      client: this.client,
      op,
      audit: isAudited(op),
      ...(typeof operation === 'string' ? { operation } : {}),
      ...(typeof resource === 'string' ? { resource } : {}),
      ...(typeof name === 'string' ? { name } : {}),
    })
  }

  /** From the shared sweep, every `pingIntervalMs`. */
  ping(): void {
    // While the socket is not read, its pongs cannot be seen.
    if (this.paused || this.closed) {
      this.answeredPing = true
      return
    }
    if (!this.answeredPing) {
      this.socket.terminate()
      return
    }
    this.answeredPing = false
    this.socket.ping()
  }

  /** From the shared sweep, often: closes a peer that does not read. */
  checkOutput(now: number): void {
    this.output.recount()
    if (this.closed) {
      // Who does not read does not see the close frame, either.
      if (now - this.closedAt > closeWaitMsMax) this.socket.terminate()
      return
    }
    const { slowConsumerMs, messageTimeoutMs } = this.context.settings
    if (this.output.isStalled(now))
      this.close(closeCode.slow, `slow: output waited ${slowConsumerMs} ms (slowConsumerMs)`)
    else if (this.isMessageLate(now))
      this.refuse(
        new LogloomError(
          'BAD_FRAME',
          `a message did not come whole within ${messageTimeoutMs} ms (messageTimeoutMs)`,
        ),
      )
    else this.afterOutput()
    this.pings = 0
  }

  /** Nobody needs many, and each costs as much as a small request. */
  private countPing(): void {
    if (this.closed || ++this.pings <= pingsPerSweepMax) return
    this.refuse(
      new LogloomError(
        'LIMIT_EXCEEDED',
        `more than ${pingsPerSweepMax} pings and pongs in half a second (pingsPerSweepMax)`,
        { limit: pingsPerSweepMax },
      ),
    )
  }

  /** A piece of what came was taken apart: whatever it was made of, the next one comes in this turn only if there is time. */
  private afterPiece(bytes: number): void {
    if (this.refused || this.closed) this.afterRest(bytes)
    else if (isTurnOver()) this.waitForTurn()
  }

  /** The peer is to answer the close frame. What it sends instead keeps to turns, and of who broke a rule TCP stops it when it is too much. */
  private afterRest(bytes: number): void {
    if (this.refused) this.restBytes += bytes
    if (this.restBytes <= restBytesMax && !isTurnOver()) return
    this.socket.pause()
    if (this.restBytes <= restBytesMax) setImmediate(() => this.socket.resume())
  }

  /** Counts what came of a message, and since when it has been coming. */
  private isMessageLate(now: number): boolean {
    const { partialBytes } = this.socket
    this.context.load.budget.add('partial', partialBytes - this.partialBytes)
    this.partialBytes = partialBytes
    // What is not read cannot come.
    if (partialBytes === 0 || this.paused) this.partialSince = undefined
    else this.partialSince ??= now
    return now - (this.partialSince ?? now) > this.context.settings.messageTimeoutMs
  }

  /** From the shared sweep, and when a key was revoked: ends a connection whose credential has ended. */
  checkCredential(): void {
    if (this.closed || !this.greeted || this.context.authenticator.isCurrent(this.principal)) return
    this.close(closeCode.expired, 'the credential of this connection has ended: send a new one')
  }

  /**
   * Takes another credential of the same principal: `authenticate` (protocol.md 12.1).
   * @throws AUTHENTICATION_FAILED, AUTHENTICATION_REQUIRED, INVALID_REQUEST
   */
  async authenticate(token: string | undefined): Promise<Principal> {
    const { authenticator } = this.context
    try {
      const principal = await authenticator.authenticate(token, this.socket.remoteAddress)
      if (principal.name !== this.principal.name)
        throw new LogloomError(
          'AUTHENTICATION_FAILED',
          'the token is of another principal than this connection: open another one',
        )
      this.principal = principal
      this.credentialTries = 0
      return principal
    } catch (error) {
      if (++this.credentialTries >= credentialTriesMax)
        setImmediate(() => this.refuse(asKnown(error)))
      throw error
    }
  }

  /** Says that the broker stops; what is in flight is answered, what comes later is refused. */
  goAway(): void {
    this.send({ op: 'goaway' })
    this.leaving = true
    this.wakeParked()
  }

  dismiss(reason: string): void {
    this.close(closeCode.goingAway, reason)
  }

  /** Drops the socket without another word. */
  terminate(): void {
    this.socket.terminate()
  }

  close(code: number, reason: string): void {
    if (this.closed) return
    this.endSubscriptions()
    this.output.flush()
    this.socket.ignoreRest()
    // What is paused could not see the peer's close frame.
    this.socket.resume()
    this.socket.close(code, reason)
    this.end(code)
  }

  /** What operators may know of it. */
  describe(): Frame {
    return {
      id: this.id,
      client: this.client,
      principal: this.principal.name,
      remoteAddress: this.socket.remoteAddress,
      openedAt: this.openedAt,
      requestsInFlight: this.requestsInFlight,
      subscriptions: this.subscriptions?.size ?? 0,
      memberships: this.ownMemberships?.size ?? 0,
      bufferedBytes: this.output.bytes,
      paused: this.paused,
    }
  }

  get idle(): boolean {
    return this.requestsInFlight === 0
  }

  private receive(bytes: Uint8Array): void {
    if (this.closed) return
    if (this.late === undefined && (!mustWait() || this.servedIn !== turnNow())) {
      this.servedIn = turnNow()
      this.take(bytes)
      return
    }
    if (this.late === undefined) this.waitForTurn()
    this.late?.push(bytes)
  }

  /** For the next burst of this turn, or for the next turn: nothing is read then. */
  private waitForTurn(): void {
    if (isTurnOver()) this.pauseReading()
    if (this.late !== undefined) return
    this.late = []
    standInLine(this.takeLate)
  }

  /** One message at least, and more as long as there is time: everybody gets on. */
  private readonly takeLate = (): void => {
    const late = this.late ?? []
    let taken = 0
    do {
      const next = late[taken++]
      if (next !== undefined && !this.closed) this.take(next)
    } while (taken < late.length && !mustWait())
    this.late = undefined
    if (taken < late.length && !this.closed) {
      this.waitForTurn()
      this.late = late
      late.splice(0, taken)
      return
    }
    this.resumeIfPossible()
  }

  private take(bytes: Uint8Array): void {
    if (!this.greeted && this.mustWait(bytes)) return
    this.partialSince = undefined
    let frame: Frame
    try {
      frame = unpackFrame(bytes)
    } catch (error) {
      const known =
        error instanceof LogloomError
          ? error
          : new LogloomError('BAD_FRAME', (error as Error).message)
      this.refuse(known)
      return
    }
    if (!this.greeted) this.hello(frame)
    else if (frame.op === 'credit') this.creditFrame(frame)
    else this.request(frame, bytes.length)
  }

  private hello(frame: Frame): void {
    const id = typeof frame.id === 'number' ? frame.id : null
    const { authenticator } = this.context
    try {
      checkHello(frame)
      this.client = String(frame.client).slice(0, clientNameShown)
      if (!authenticator.required) this.greet(id, anonymous)
      else void this.identify(id, credentialOf(frame) ?? this.offeredToken)
    } catch (error) {
      this.refuse(asKnown(error), id)
    }
  }

  /** Nothing more is read until it is known who is there; the hello's deadline goes on. */
  private async identify(id: number | null, token: string | undefined): Promise<void> {
    this.waiting = []
    this.socket.pause()
    try {
      const { authenticator } = this.context
      const principal = await authenticator.authenticate(token, this.socket.remoteAddress)
      if (this.closed) return
      this.greet(id, principal)
    } catch (error) {
      this.refuse(asKnown(error), id)
      return
    }
    const { waiting } = this
    this.waiting = undefined
    if (!this.paused) this.socket.resume()
    // Before what came behind them.
    if (this.late !== undefined) this.late.unshift(...waiting)
    else for (const bytes of waiting) this.receive(bytes)
    this.resumeIfPossible()
  }

  private greet(id: number | null, principal: Principal): void {
    const { accounts, door } = this.context.load
    this.account = accounts.enter(principal)
    door.greeted(this.socket)
    this.principal = principal
    this.greeted = true
    this.cancelHello()
    this.send({ id, ...helloReply(this.context, principal) })
  }

  /** Before the hello is answered: true when the frame is not to be looked at, now or ever. */
  private mustWait(bytes: Uint8Array): boolean {
    const isMuch = this.context.authenticator.required && bytes.length > helloBytesMax
    if (isMuch || (this.waiting?.length ?? 0) >= waitingFramesMax) {
      this.refuse(
        new LogloomError(
          'BAD_FRAME',
          isMuch
            ? `${bytes.length} bytes before it is known who sends them, the limit is ${helloBytesMax} (helloBytesMax)`
            : `more than ${waitingFramesMax} frames before the hello was answered (waitingFramesMax)`,
        ),
      )
      return true
    }
    this.waiting?.push(bytes)
    return this.waiting !== undefined
  }

  private creditFrame(frame: Frame): void {
    try {
      credit(frame, this)
    } catch (error) {
      this.send({ id: null, error: (error as LogloomError).toWire() })
    }
  }

  private request(frame: Frame, bytes: number): void {
    const { id, op, acks } = frame
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0) {
      const error = new LogloomError(
        'INVALID_REQUEST',
        `field id must be an integer from 0, got ${describe(id)}`,
        { field: 'id' },
      )
      this.send({ id: null, error: error.toWire() })
      return
    }
    const operation = typeof op === 'string' ? operations.get(op) : undefined
    if (operation === undefined) {
      this.send({
        id,
        error: new LogloomError('UNKNOWN_OP', `unknown operation ${describe(op)}`).toWire(),
      })
      return
    }
    const { accounts, admission, budget } = this.context.load
    const account = this.account as Account
    const heldBytes = bytes + requestOverheadBytes
    accounts.refresh(account)
    this.requestsInFlight++
    this.bytesInFlight += bytes
    account.inFlightBytes += bytes
    budget.add('requests', heldBytes)
    this.pauseIfFull()
    const start = performance.now()
    const silent = acks === 0 && operation.api === 'produce'
    const call: Call = { parkedMs: 0, reservedBytes: 0, readBytes: 0 }
    let isAdmitted = false
    const audit = operation.api === 'admin' ? this.auditOf(String(op), frame) : undefined
    const done = (reply: Frame | undefined, error: unknown): void => {
      this.requestsInFlight--
      this.bytesInFlight -= bytes
      account.answered(bytes)
      budget.add('requests', -heldBytes)
      if (isAdmitted) admission.leave(account, heldBytes)
      const throttleMs =
        account.isFree || op === 'ping'
          ? 0
          : this.payFor(account, isAdmitted ? bytes : 0, call.readBytes)
      const throttle = throttleMs > 0 ? { throttleMs } : undefined
      const known = error === undefined ? undefined : this.known(error, String(op))
      if (known?.code === 'AUTHORIZATION_FAILED') this.denied(String(op), known)
      else audit?.(known, reply)
      this.context.stats.request(
        operation.api,
        known?.code ?? 'ok',
        (performance.now() - start - call.parkedMs) / 1000,
      )
      if (!silent)
        this.reply(id, {
          ...(known === undefined ? reply : { error: known.toWire() }),
          ...throttle,
        })
      if (throttleMs > 0) this.mute(throttleMs)
      if (call.decidedAt !== undefined)
        this.context.stats.stage('reply', (performance.now() - call.decidedAt) / 1000)
      this.output.release(call)
      this.resumeIfPossible()
    }
    try {
      if (this.leaving) throw new LogloomError('SHUTTING_DOWN', 'the broker is going away')
      checkAcks(acks)
      if (this.access !== undefined) permit(String(op), this.access, frame)
      if (operation.api === 'produce' && bringsRecords(frame)) {
        this.admit(account, frame, heldBytes)
        isAdmitted = true
      }
      const reply = operation.handle(this.context, frame, this, call)
      if (reply instanceof Promise)
        reply.then(
          value => done(value, undefined),
          error => done(undefined, error ?? new Error('unknown')),
        )
      else done(reply, undefined)
    } catch (error) {
      done(undefined, error)
    }
  }

  /** Lets a write in, or refuses it before anything was done. @throws THROTTLED, OUT_OF_ORDER_SEQUENCE */
  private admit(account: Account, frame: Frame, heldBytes: number): void {
    const missing = this.shedLanes?.missing(frame)
    if (missing !== undefined)
      throw withoutStack(
        () =>
          new LogloomError(
            'OUT_OF_ORDER_SEQUENCE',
            `sequence ${missing} of this lane was refused (THROTTLED): it comes first`,
            { expected: missing },
          ),
      )
    const refusal = this.context.load.admission.enter(account, heldBytes)
    if (refusal === undefined) return
    this.shedLanes ??= new ShedLanes()
    this.shedLanes.note(frame)
    this.muteStubborn()
    throw refusal
  }

  /** Whoever goes on sending what is refused is not read for a while: refusals cost something, too. */
  private muteStubborn(): void {
    const now = performance.now()
    if (now - this.shedsSince > 1000) {
      this.sheds = 0
      this.shedsSince = now
    }
    if (++this.sheds > shedsPerSecondMax) this.mute(shedMuteMs)
  }

  /** @returns ms that the principal has to wait, by the rate that it is furthest behind */
  private payFor(account: Account, writtenBytes: number, readBytes: number): number {
    const requestMs = this.pay(account, 'request', 1)
    const produceMs = writtenBytes === 0 ? 0 : this.pay(account, 'produce', writtenBytes)
    const consumeMs = readBytes === 0 ? 0 : this.pay(account, 'consume', readBytes)
    return Math.max(requestMs, produceMs, consumeMs)
  }

  private pay(account: Account, kind: ThrottleKind, amount: number): number {
    const ms = account.pay(kind, amount, performance.now())
    if (ms > 0) this.context.stats.throttled(kind, ms / 1000)
    return ms
  }

  /** Does not read the socket for `ms`, and then until all is paid for. */
  private mute(ms: number): void {
    if (this.closed) return
    const now = performance.now()
    this.mutedUntil = Math.max(this.mutedUntil ?? 0, now + ms)
    this.cancelMute ??= this.context.timers.after(Math.min(ms, debtLookMs), () => {
      this.cancelMute = undefined
      this.unmuteIfPaid()
    })
    this.pauseIfFull()
  }

  private unmuteIfPaid(): void {
    const { account } = this
    if (this.closed || account === undefined || this.mutedUntil === undefined) return
    this.context.load.accounts.refresh(account)
    const now = performance.now()
    // A quota that was raised ends the wait early; other connections of the principal may have made it longer.
    const leftMs = account.isFree
      ? 0
      : Math.max(
          account.debtMs('request', now),
          account.debtMs('produce', now),
          account.debtMs('consume', now),
        )
    this.mutedUntil = undefined
    if (leftMs > 0) this.mute(leftMs)
    else this.resumeIfPossible()
  }

  /** How to write down what became of it. Apart, so that no other request keeps its frame for this. */
  private auditOf(
    op: string,
    frame: Frame,
  ): ((error: LogloomError | undefined, reply: Frame | undefined) => void) | undefined {
    if (!isAudited(op)) return undefined
    const who = { ...identityOf(this.who), address: this.socket.remoteAddress, client: this.client }
    return (error, reply) => this.context.onAudit({ ...who, ...auditLine(op, frame, error, reply) })
  }

  private reply(id: number, fields: Frame): void {
    try {
      this.send({ id, ...fields })
    } catch (error) {
      // A reply that cannot be packed is our defect; the request must not hang for it.
      this.send({
        id,
        error: this.known(new Error('reply not packable', { cause: error }), 'reply').toWire(),
      })
    }
  }

  private known(error: unknown, op: string): LogloomError {
    if (error instanceof LogloomError) return error
    const unavailable = asUnavailable(error)
    if (unavailable !== undefined) return unavailable
    this.context.onInternalError(error, op)
    return new LogloomError('INTERNAL', `${op} failed inside the broker`)
  }

  /** Answers once and closes: the peer broke a rule that leaves nothing to talk about. */
  private refuse(error: LogloomError, id: number | null = null): void {
    if (this.closed) return
    count(this.context.stats.rejected, error.code)
    this.refused = true
    this.send({ id, error: error.toWire() })
    const code = error.retriable ? closeCode.tryLater : closeCode.policy
    this.close(code, `${error.code}: ${error.message}`)
  }

  private send(frame: Frame): void {
    if (!this.closed) this.write(packFrame(frame))
  }

  private write(...pieces: readonly Uint8Array[]): void {
    const { outputBytesMax } = this.context.settings
    if (this.output.write(...pieces)) this.pauseIfFull()
    else this.close(closeCode.slow, `slow: more than ${outputBytesMax} bytes wait (outputBytesMax)`)
  }

  private pumpAll(): void {
    const due = this.pumping
    this.pumping = undefined
    if (due === undefined || this.closed) return
    const served: Subscription[] = []
    for (const subscription of due) {
      if (this.output.isFull) this.pumpLater(subscription)
      else {
        subscription.pump()
        served.push(subscription)
      }
    }
    // Who has just been served and has more goes behind those who got nothing.
    for (const subscription of served)
      if (this.stalled?.delete(subscription) === true) this.stalled.add(subscription)
  }

  private pauseIfFull(): void {
    if (this.closed) return
    if (this.paused) return
    const { requestsInFlightMax, bytesInFlightMax } = this.context.settings
    const isOverQuota = this.account?.isFull === true
    if (
      this.requestsInFlight < requestsInFlightMax &&
      this.bytesInFlight < bytesInFlightMax &&
      this.mutedUntil === undefined &&
      !isOverQuota &&
      !this.output.isFull
    )
      return
    if (isOverQuota) this.account?.whenLess(this.resumeIfPossible)
    this.pauseReading()
  }

  private pauseReading(): void {
    if (this.paused) return
    this.paused = true
    this.context.stats.pausedConnections++
    this.socket.pause()
  }

  private readonly resumeIfPossible = (): void => {
    if (!this.paused || this.closed) return
    const { requestsInFlightMax, bytesInFlightMax } = this.context.settings
    // Half-way hysteresis, so that a busy socket is not switched at every reply.
    if (
      this.requestsInFlight > requestsInFlightMax / 2 ||
      this.bytesInFlight > bytesInFlightMax / 2 ||
      this.mutedUntil !== undefined ||
      this.late !== undefined ||
      this.waiting !== undefined ||
      this.output.isFull
    )
      return
    if (this.account?.isFull === true) {
      this.account.whenLess(this.resumeIfPossible)
      return
    }
    this.paused = false
    this.context.stats.pausedConnections--
    this.socket.resume()
  }

  /** Output moved: pumps and reading may go on. */
  private afterOutput(): void {
    if (this.closed || !this.output.drained()) return
    this.resumeIfPossible()
    this.pumpStalled()
  }

  private readonly pumpStalled = (): void => {
    this.cancelPump?.()
    this.cancelPump = undefined
    const { stalled } = this
    this.stalled = undefined
    if (stalled === undefined || this.closed) return
    for (const subscription of stalled) this.pumpSoon(subscription)
  }

  private wakeParked(): void {
    const { parked } = this
    this.parked = undefined
    if (parked !== undefined) for (const wake of parked) wake()
  }

  private end(code: number): void {
    if (this.closed) return
    this.closed = true
    this.closedAt = performance.now()
    this.leaving = true
    this.cancelHello()
    this.cancelMute?.()
    this.cancelPump?.()
    this.context.load.budget.add('partial', -this.partialBytes)
    this.partialBytes = 0
    if (this.account !== undefined) this.context.load.accounts.leave(this.account)
    if (this.paused) this.context.stats.pausedConnections--
    count(this.context.stats.closed, code)
    this.endSubscriptions()
    this.wakeParked()
    this.output.end()
  }

  private endSubscriptions(): void {
    if (this.subscriptions !== undefined)
      for (const subscription of this.subscriptions.values()) subscription.end()
    if (this.subscriptions !== undefined)
      this.context.load.subscriptions.remove(this.account as Account, this.subscriptions.size)
    this.subscriptions = undefined
    this.stalled = undefined
  }
}

function asKnown(error: unknown): LogloomError {
  return error instanceof LogloomError
    ? error
    : new LogloomError('INTERNAL', 'the broker could not find out who this is')
}

/** Offsets and acknowledgements alone are no writes that overload refuses: they free what is held. */
function bringsRecords({ op, batches }: Frame): boolean {
  return op !== 'publish' || !Array.isArray(batches) || batches.length > 0
}

function checkAcks(acks: unknown): void {
  if (
    acks === undefined ||
    acks === null ||
    acks === 'all' ||
    acks === -1 ||
    acks === 1 ||
    acks === 0
  )
    return
  throw new LogloomError(
    'INVALID_REQUEST',
    `field acks must be "all", -1, 1 or 0, got ${describe(acks)}`,
    { field: 'acks' },
  )
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing'
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : typeof value
}

// The client's one connection, dialled again for ever until it is closed.
//
// Guarantees: at most one link at a time; after a loss the next URL is tried, with full jitter once all were; a refusal that will
// repeat itself (1008, unknown protocol) closes the connection with that error. A silent peer is found by a ping. It does not know
// what its users do with a link: producers and readers register a callback and send their own unresolved work again.

import { type Frame, LogloomError } from '../wire/index.ts'
import { type Backoff, type ClientClock, fullJitterMs, pause, timerMsMax } from './clock.ts'
import { asLogloomError, closedError, isTransient, notSentError } from './failures.ts'
import { type Link, openLink, policyError } from './link.ts'
import { keepFresh, tokenFrom, type TokenSource } from './credential.ts'
import { RetryBudget, retryAfterOf } from './retry-budget.ts'
import { StatusFeed } from './status.ts'
import type { Tracing } from './tracing/tracing.ts'

export interface ConnectionOptions {
  readonly urls: readonly string[]
  readonly clientId: string
  readonly token?: TokenSource | undefined
  readonly ca?: string | readonly string[] | undefined
  /** Bound of one dial, milliseconds. */
  readonly dialTimeoutMs: number
  readonly requestTimeoutMs: number
  /** A broker that is silent for this long while something is asked of it is left. */
  readonly brokerTimeoutMs: number
  readonly keepAliveMs: number
  readonly backoff: Backoff
  readonly clock: ClientClock
  /** Undefined: nobody asked for spans. */
  readonly tracing?: Tracing | undefined
}

/** Options of a request that may be repeated. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  /** Bound of the whole call, reconnects included, milliseconds; default `requestTimeoutMs`. */
  readonly timeoutMs?: number | undefined
  /** LOG_UNAVAILABLE ends the call: the broker has waited before it said so. */
  readonly impatient?: boolean | undefined
}

/** Called with each new link, and with `undefined` when the connection is closed for good. */
export type LinkListener = (link: Link | undefined) => void

interface Waiter {
  resolve(link: Link): void
  reject(error: Error): void
}

const fatalCodes: ReadonlySet<string> = new Set([
  'UNSUPPORTED_PROTOCOL',
  'FORBIDDEN_HOST',
  'FORBIDDEN_ORIGIN',
  'WRONG_PORT',
  'TOKEN_IN_URL',
  'AUTHENTICATION_REQUIRED',
])

export class Connection {
  readonly clock: ClientClock
  readonly backoff: Backoff
  readonly requestTimeoutMs: number
  readonly tracing: Tracing | undefined
  readonly status: StatusFeed
  readonly retries: RetryBudget
  readonly #options: ConnectionOptions
  readonly #stop = new AbortController()
  readonly #waiters = new Set<Waiter>()
  readonly #listeners = new Set<LinkListener>()
  readonly #run: Promise<void>
  /** Brokers of the same log that others have told of. */
  #learned: readonly string[] = []
  #link: Link | undefined
  #closedBy: LogloomError | undefined
  #lastError: LogloomError | undefined
  /** In a row; a token function may have given one that just ended, so it is asked once more. */
  #tokensRefused = 0
  #throttledUntilMs = 0

  constructor(options: ConnectionOptions) {
    this.#options = options
    this.clock = options.clock
    this.backoff = options.backoff
    this.requestTimeoutMs = options.requestTimeoutMs
    this.tracing = options.tracing
    this.retries = new RetryBudget(options.backoff, options.clock)
    this.status = new StatusFeed({ type: 'connecting', url: options.urls[0] ?? '', attempt: 0 })
    this.#run = this.#dialForEver()
  }

  /** The link that new work may use now. */
  get link(): Link | undefined {
    return this.#link?.draining === false ? this.#link : undefined
  }

  /** How long the broker does not read what is sent to it, since a quota is not paid for; 0 when it does. */
  get throttledMs(): number {
    return Math.max(0, this.#throttledUntilMs - this.clock.nowMs())
  }

  /** The error of every later call once the connection is closed. */
  get closedBy(): LogloomError | undefined {
    return this.#closedBy
  }

  /** Why there is no link, as far as known. */
  get lastError(): LogloomError | undefined {
    return this.#lastError
  }

  /** Registers for each new link; returns the way out. */
  onLink(listener: LinkListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Waits for a link. @throws TIMEOUT (nothing was sent), the signal's reason, or why the client closed */
  waitForLink(o: CallOptions = {}): Promise<Link> {
    if (this.#closedBy) return Promise.reject(this.#closedBy)
    if (o.signal?.aborted) return Promise.reject(o.signal.reason as Error)
    if (this.link) return Promise.resolve(this.link)
    const timeoutMs = o.timeoutMs ?? this.requestTimeoutMs
    return new Promise((resolve, reject) => {
      const done = (): void => {
        this.#waiters.delete(waiter)
        cancelTimer()
        o.signal?.removeEventListener('abort', abort)
      }
      const waiter: Waiter = {
        resolve: link => (done(), resolve(link)),
        reject: error => (done(), reject(error)),
      }
      const abort = (): void => waiter.reject(o.signal?.reason as Error)
      const cancelTimer = this.clock.schedule(timeoutMs, () => {
        const to = this.#options.urls.join(', ')
        waiter.reject(
          notSentError(
            `no connection to ${to} within ${Math.round(timeoutMs)} ms`,
            this.#lastError,
          ),
        )
      })
      this.#waiters.add(waiter)
      o.signal?.addEventListener('abort', abort)
    })
  }

  /** A request that may be repeated without harm: sent again after a loss or a transient refusal until the time is up. */
  async call(op: string, fields: Frame = {}, o: CallOptions = {}): Promise<Frame> {
    const deadlineMs = this.clock.nowMs() + (o.timeoutMs ?? this.requestTimeoutMs)
    let refusal: LogloomError | undefined
    for (let attempt = 0; ; attempt++) {
      const leftMs = (): number => Math.max(1, deadlineMs - this.clock.nowMs())
      if (this.throttledMs > 0)
        await pause(this.clock, Math.min(this.throttledMs, leftMs()), this.#stop.signal, o.signal)
      const link = await this.waitForLink({ signal: o.signal, timeoutMs: leftMs() })
      try {
        const reply = await link.channel.request(op, fields, {
          timeoutMs: leftMs(),
          ...(o.signal ? { signal: o.signal } : {}),
        })
        this.retries.succeeded()
        return reply
      } catch (error) {
        if (this.#closedBy) throw this.#closedBy
        const { code } = asLogloomError(error)
        if (!isTransient(error) || (o.impatient === true && code === 'LOG_UNAVAILABLE')) throw error
        if (code !== 'TIMEOUT') refusal = error as LogloomError
        const delayMs = this.retries.pauseMs(attempt, retryAfterOf(error as LogloomError))
        const isLast = delayMs >= deadlineMs - this.clock.nowMs()
        await pause(this.clock, Math.min(delayMs, leftMs()), this.#stop.signal, o.signal)
        // Why it was refused until now says more than that time is up.
        if (isLast && !this.#closedBy && o.signal?.aborted !== true) throw refusal ?? error
      }
    }
  }

  /** Closes for good; idempotent. Work that still waits is refused with `error`. */
  async close(error: LogloomError = closedError('client')): Promise<void> {
    this.#shut(error, undefined)
    await this.#run
  }

  #shut(error: LogloomError, statusError: LogloomError | undefined): void {
    if (this.#closedBy) return
    this.#closedBy = error
    this.#stop.abort(error)
    const link = this.#link
    this.#link = undefined
    link?.channel.close()
    for (const waiter of this.#waiters) waiter.reject(error)
    for (const listener of this.#listeners) listener(undefined)
    this.status.publish({ type: 'closed', ...(statusError ? { error: statusError } : {}) })
  }

  async #dialForEver(): Promise<void> {
    const { backoff, clock } = this.#options
    // The constructor returns before the first dial, so that its owner can register.
    await Promise.resolve()
    let round = 0
    let failed = 0
    let last = ''
    for (let attempt = 0; !this.#closedBy; attempt++) {
      const url = this.#after(last)
      last = url
      this.status.publish({ type: 'connecting', url, attempt })
      const openedMs = await this.#useOnce(url)
      if (this.#closedBy) return
      // A link that lived longer than the longest pause earned a quick new start.
      const isProven = openedMs !== undefined && clock.nowMs() - openedMs > backoff.maxMs
      if (isProven) round = 0
      failed = isProven ? 0 : failed + 1
      // Another broker is tried at once; only when all have failed is it time to wait.
      const others = this.#candidates().length - 1
      if (others > 0 && failed <= others) continue
      failed = 0
      const askedMs = openedMs === undefined ? retryAfterOf(this.#lastError) : 0
      const delayMs = askedMs * (1 + clock.random()) + fullJitterMs(round++, backoff, clock)
      await pause(clock, delayMs, this.#stop.signal)
    }
  }

  /** The URLs that were given, then those that were learned. */
  #candidates(): readonly string[] {
    const { urls } = this.#options
    const isSecure = urls.every(url => url.startsWith('wss:'))
    // A page that was loaded securely may not dial anything else; and nobody asked for less.
    const learned = this.#learned.filter(url => !isSecure || url.startsWith('wss:'))
    return [...new Set([...urls, ...learned])]
  }

  /** The next one to try. */
  #after(last: string): string {
    const all = this.#candidates()
    return all[(all.indexOf(last) + 1) % all.length] ?? ''
  }

  /** One dial and, if it succeeds, the life of that link. Resolves with the time at which it opened. */
  async #useOnce(url: string): Promise<number | undefined> {
    const { clientId, dialTimeoutMs, brokerTimeoutMs, clock, token, ca } = this.#options
    // With others to turn to, one that takes connections and says nothing is not worth a long wait.
    const isAlone = this.#candidates().length === 1
    const timeoutMs = Math.min(dialTimeoutMs, isAlone ? timerMsMax : brokerTimeoutMs)
    let link: Link
    try {
      link = await openLink(url, {
        clientId,
        ca,
        token: await tokenFrom(token, this.#stop.signal),
        signal: this.#stop.signal,
        timeoutMs,
        onGoaway: leaving => this.#leave(leaving),
        onThrottle: (throttleMs, isUnread) => this.#throttled(url, throttleMs, isUnread),
        onBrokers: brokers => {
          this.#learned = brokers
        },
      })
    } catch (error) {
      this.#recover(url, asLogloomError(error))
      return undefined
    }
    if (this.#closedBy) {
      link.channel.close()
      return undefined
    }
    const openedMs = clock.nowMs()
    this.#tokensRefused = 0
    this.#link = link
    this.#throttledUntilMs = 0
    if (link.brokers.length > 0) this.#learned = link.brokers
    const { serverId, version } = link
    this.status.publish({ type: 'open', url, serverId, version })
    for (const waiter of this.#waiters) waiter.resolve(link)
    for (const listener of this.#listeners) listener(link)
    const stopKeepAlive = this.#keepAlive(link)
    const stopKeepFresh = keepFresh(link, token, this.requestTimeoutMs, clock)
    const { code, reason } = await link.channel.closed
    stopKeepAlive()
    stopKeepFresh()
    if (this.#link === link) this.#link = undefined
    const message = `the connection to ${url} ended with ${code}${reason ? `: ${reason}` : ''}`
    this.#recover(
      url,
      policyError(code, reason) ??
        new LogloomError('CONNECTION_CLOSED', message, { closeCode: code }),
      code === 1008,
    )
    return openedMs
  }

  /** A quota is used up. `isUnread`: the broker does not read this connection until it is paid for. */
  #throttled(url: string, throttleMs: number, isUnread: boolean): void {
    if (isUnread)
      this.#throttledUntilMs = Math.max(
        this.#throttledUntilMs,
        this.clock.nowMs() + Math.min(throttleMs, timerMsMax),
      )
    this.status.tell({ type: 'throttled', url, throttleMs })
  }

  #recover(url: string, error: LogloomError, policy = false): void {
    if (this.#closedBy) return
    this.#lastError = error
    if (this.#isFinal(error) || (policy && error.code !== 'CONNECTION_CLOSED')) {
      this.#shut(error, error)
    } else this.status.publish({ type: 'recovering', url, error })
  }

  #isFinal(error: LogloomError): boolean {
    if (error.code !== 'AUTHENTICATION_FAILED') return fatalCodes.has(error.code)
    // The broker cannot tell now, or the next token may be another one.
    if (error.retriable) return false
    const triesMax = typeof this.#options.token === 'function' ? 2 : 1
    return ++this.#tokensRefused >= triesMax
  }

  /** After `goaway` the broker closes once it has answered; one that does not is left anyway. */
  #leave(link: Link): void {
    const cancel = this.clock.schedule(this.requestTimeoutMs, () => link.channel.close())
    void link.channel.closed.then(cancel)
  }

  /** Pings; a peer that does not answer within one interval is given up. Returns the way to stop. */
  #keepAlive(link: Link): () => void {
    const { keepAliveMs, brokerTimeoutMs, clock } = this.#options
    const { channel } = link
    const lookMs = Math.min(keepAliveMs, brokerTimeoutMs / 2)
    let stopped = false
    let cancel = (): void => {}
    let seen = -1
    let quietMs = 0
    const ping = (timeoutMs: number): void => {
      channel.request('ping', {}, { timeoutMs }).then(arm, (error: unknown) => {
        // What was sent just before a throttle is read when that is over.
        const isThrottled = clock.nowMs() < this.#throttledUntilMs + timeoutMs
        if (error instanceof LogloomError && error.code === 'TIMEOUT' && !isThrottled)
          channel.abandon(`the broker said nothing for ${Math.round(quietMs + timeoutMs)} ms`)
        else arm()
      })
    }
    const look = (): void => {
      const isQuiet = channel.received === seen && this.throttledMs === 0
      quietMs = isQuiet ? quietMs + lookMs : 0
      seen = channel.received
      // Who is asked and says nothing is tried soon; who is not asked, now and then.
      if (quietMs > 0 && channel.inFlight > 0) ping(lookMs)
      else if (quietMs >= keepAliveMs) ping(keepAliveMs)
      else arm()
    }
    const arm = (): void => {
      if (!stopped) cancel = clock.schedule(lookMs, look)
    }
    arm()
    return () => {
      stopped = true
      cancel()
    }
  }
}

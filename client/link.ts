// One open connection: a socket that has said hello, and the pushes that arrive on it.
//
// Guarantees: pushes of a subscription reach its sink in order, also those that arrive before the caller has seen the reply of
// `subscribe`. It does not know how to reconnect: a link dies once, the Connection makes the next one (protocol.md 1.2).

import { type Frame, LogloomError, openSocket, RequestChannel, wireLimits } from '../wire/index.ts'
import { checkPush, partitionCount, uintOf } from './checked.ts'
import { badPush } from './credit-window.ts'

/** Limits the broker announced in its `hello` reply; bytes and counts. */
export interface BrokerLimits {
  readonly frameBytesMax: number
  readonly batchBytesMax: number
  readonly producerInFlightMax: number
  /** Most credit that a subscription may hold. */
  readonly creditBytesMax: number
}

/** Receives the `deliver` and `end` pushes of one subscription, each with the size of its message; BAD_FRAME that it throws ends the link. */
export type PushSink = (frame: Frame, messageBytes: number) => void

export interface LinkOptions {
  readonly clientId: string
  readonly signal: AbortSignal
  /** Bound of the dial and of the hello, milliseconds each. */
  readonly timeoutMs: number
  /** PEM certificates of the authority that signed the broker's. */
  readonly ca?: string | readonly string[] | undefined
  readonly token?: string | undefined
  /** Called once when the broker announces that it goes away. */
  readonly onGoaway: (link: Link) => void
  /** Called when a quota is used up; see {@link RequestChannelOptions}. */
  readonly onThrottle: (throttleMs: number, isUnread: boolean) => void
  /** Called when the broker says that the brokers of its log have changed. */
  readonly onBrokers: (urls: readonly string[]) => void
}

const protocolVersion = 1
const laneDepthMax = 5
/** Bytes of pushes that came ahead of the reply to their `subscribe`, beyond twice its credit: the last one, and gaps. */
const earlyBytesMax = 4 << 20
/** What a push costs in memory, however small it is. */
const pushBytesMin = 256
/** Learned from one broker. */
const brokersMax = 32

export class Link {
  readonly channel: RequestChannel
  readonly url: string
  readonly serverId: string
  readonly version: string
  readonly limits: BrokerLimits
  /** Other brokers of the same log, by URL, as this one knows them now. */
  brokers: readonly string[]
  /** How long the broker takes us for who we are, milliseconds from the hello; undefined: for ever. */
  readonly credentialMs: number | undefined
  /** The broker asked us to leave: nothing new is started here. */
  draining = false
  readonly #pushes: PushRouter

  constructor(url: string, channel: RequestChannel, pushes: PushRouter, hello: Frame) {
    this.url = url
    this.channel = channel
    this.#pushes = pushes
    this.serverId = textOf(hello['serverId'])
    this.version = textOf(hello['version'])
    this.brokers = brokerUrls(hello['brokers'])
    this.credentialMs = credentialMs((hello['auth'] ?? {}) as Frame)
    const limits = (hello['limits'] ?? {}) as { readonly [key: string]: unknown }
    const limit = (key: string, fallback: number): number => {
      const value = limits[key]
      return typeof value === 'number' && value > 0 ? value : fallback
    }
    this.limits = {
      frameBytesMax: limit('frameBytesMax', wireLimits.frameBytesMax),
      batchBytesMax: limit('batchBytesMax', wireLimits.batchBytesMax),
      producerInFlightMax: Math.min(limit('producerInFlightMax', laneDepthMax), laneDepthMax),
      creditBytesMax: limit('creditBytesMax', Number.MAX_SAFE_INTEGER),
    }
  }

  /** Subscribes; `sink` gets every push of the subscription, the earliest possibly before this promise resolves. */
  async subscribe(fields: Frame, sink: PushSink, o: { signal?: AbortSignal; timeoutMs: number }) {
    const credit = Number(fields['credit'])
    this.#pushes.expect(credit)
    try {
      const reply = await this.channel.request('subscribe', fields, o)
      const [sub, offset, end] = [
        uintOf(reply, 'sub'),
        uintOf(reply, 'offset'),
        uintOf(reply, 'end'),
      ]
      const partitions = reply['partitions'] === undefined ? undefined : partitionCount(reply)
      // Before any record, the earliest pushes included.
      if (partitions !== undefined) sink({ op: 'deliver', sub, items: [], partitions }, 0)
      this.#attach(sub, sink)
      return { sub, offset, end }
    } finally {
      this.#pushes.settled(credit)
    }
  }

  /** @throws CONNECTION_CLOSED when what came early was not as it should be */
  #attach(sub: number, sink: PushSink): void {
    try {
      this.#pushes.attach(sub, sink)
    } catch (error) {
      if (!(error instanceof LogloomError) || error.code !== 'BAD_FRAME') throw error
      this.channel.refuse(error)
      throw new LogloomError('CONNECTION_CLOSED', error.message, {}, { cause: error })
    }
  }

  /** Stops a subscription; pushes under way are dropped. Never fails: a broken link has no subscriptions. */
  unsubscribe(sub: number): void {
    this.#pushes.detach(sub)
    const gone = (): void => this.#pushes.forget(sub)
    this.channel.request('unsubscribe', { sub }, { timeoutMs: 10_000 }).then(gone, gone)
  }

  /** Hands pushes about a member of a group to `sink`, from now on; returns the way to stop. */
  onAssignment(group: string, memberId: string, sink: PushSink): () => void {
    return this.#pushes.onMember(group, memberId, sink)
  }

  /** Says anew who we are. @returns for how long that holds, milliseconds @throws AUTHENTICATION_FAILED */
  async authenticate(token: string, timeoutMs: number): Promise<number | undefined> {
    const auth = { token }
    return credentialMs(await this.channel.request('authenticate', { auth }, { timeoutMs }))
  }

  credit(sub: number, bytes: number): void {
    this.channel.send({ op: 'credit', sub, bytes })
  }
}

/** Opens a socket and says hello. @throws UNSUPPORTED_PROTOCOL, CONNECTION_CLOSED, TIMEOUT */
export async function openLink(url: string, o: LinkOptions): Promise<Link> {
  const { signal, timeoutMs, ca, token } = o
  const socket = await openSocket(url, { signal, timeoutMs, ...(ca === undefined ? {} : { ca }) })
  const pushes = new PushRouter()
  const channel = new RequestChannel(socket, {
    onPush: (frame, messageBytes) => pushes.route(frame, messageBytes),
    onThrottle: o.onThrottle,
  })
  const abort = (): void => channel.close()
  signal.addEventListener('abort', abort)
  void channel.closed.then(() => signal.removeEventListener('abort', abort))
  try {
    const hello = {
      protocol: protocolVersion,
      client: o.clientId,
      ...(token === undefined ? {} : { auth: { token } }),
    }
    const link = new Link(
      url,
      channel,
      pushes,
      await channel.request('hello', hello, { timeoutMs }),
    )
    pushes.onBrokers = urls => {
      link.brokers = urls
      o.onBrokers(urls)
    }
    pushes.onGoaway = () => {
      if (link.draining) return
      link.draining = true
      o.onGoaway(link)
    }
    return link
  } catch (error) {
    channel.close()
    throw error
  }
}

/** Hands pushes to the sinks of their subscriptions. */
class PushRouter {
  onGoaway: () => void = () => {}
  onBrokers: (urls: readonly string[]) => void = () => {}
  /** Subscribe requests without an answer yet: pushes without a sink may be theirs. */
  #expecting = 0
  readonly #sinks = new Map<number, PushSink>()
  readonly #members = new Map<string, PushSink>()
  /** Unsubscribed, and not answered yet: their pushes are nobody's. */
  readonly #leaving = new Set<number>()
  #early: { readonly frame: Frame; readonly messageBytes: number }[] = []
  #earlyBytes = 0
  /** What may come early. */
  #earlyLimit = 0

  /** @throws BAD_FRAME */
  route(frame: Frame, messageBytes: number): void {
    checkPush(frame)
    if (frame['op'] === 'goaway') {
      this.onGoaway()
      return
    }
    if (frame['op'] === 'brokers') {
      this.onBrokers(brokerUrls(frame['brokers']))
      return
    }
    if (frame['op'] === 'assignment') {
      this.#members.get(memberKey(textOf(frame['group']), textOf(frame['memberId'])))?.(
        frame,
        messageBytes,
      )
      return
    }
    if (frame['op'] !== 'deliver' && frame['op'] !== 'end') return
    const sub = frame['sub'] as number
    const sink = this.#sinks.get(sub)
    if (sink) sink(frame, messageBytes)
    else if (this.#expecting > 0 && !this.#leaving.has(sub)) this.#keep(frame, messageBytes)
  }

  expect(credit: number): void {
    this.#expecting++
    this.#earlyLimit += 2 * credit + earlyBytesMax
  }

  /** @throws BAD_FRAME */
  #keep(frame: Frame, messageBytes: number): void {
    this.#earlyBytes += messageBytes + pushBytesMin
    if (this.#earlyBytes > this.#earlyLimit)
      throw badPush('more ahead of the reply to a subscribe than was asked for (earlyBytesMax)', {
        limit: this.#earlyLimit,
        actual: this.#earlyBytes,
      })
    this.#early.push({ frame, messageBytes })
  }

  onMember(group: string, memberId: string, sink: PushSink): () => void {
    const key = memberKey(group, memberId)
    this.#members.set(key, sink)
    return () => {
      if (this.#members.get(key) === sink) this.#members.delete(key)
    }
  }

  attach(sub: number, sink: PushSink): void {
    this.#sinks.set(sub, sink)
    const early = this.#early
    this.#early = early.filter(({ frame }) => frame['sub'] !== sub)
    for (const { frame, messageBytes } of early) {
      if (frame['sub'] !== sub) continue
      this.#earlyBytes -= messageBytes + pushBytesMin
      sink(frame, messageBytes)
    }
  }

  detach(sub: number): void {
    this.#sinks.delete(sub)
    this.#leaving.add(sub)
  }

  forget(sub: number): void {
    this.#leaving.delete(sub)
  }

  settled(credit: number): void {
    this.#earlyLimit -= 2 * credit + earlyBytesMax
    if (--this.#expecting > 0) return
    this.#early = []
    this.#earlyBytes = 0
  }
}

function credentialMs(auth: Frame): number | undefined {
  const { expiresInMs } = auth
  return typeof expiresInMs === 'number' ? expiresInMs : undefined
}

const memberKey = (group: string, memberId: string): string => `${group} ${memberId}`

/** URLs of a list of `{ nodeId, url }`; what is no WebSocket URL is left out. */
function brokerUrls(value: unknown): readonly string[] {
  if (!Array.isArray(value)) return []
  return (value as readonly unknown[])
    .slice(0, brokersMax)
    .map(broker => textOf((broker as { readonly url?: unknown } | null)?.url))
    .filter(url => /^wss?:\/\//.test(url))
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** The error of a close after which dialling again unchanged is pointless (protocol.md 1.2). */
export function policyError(code: number, reason: string): LogloomError | undefined {
  if (code !== 1008) return undefined
  const match = /^[A-Z_]+/.exec(reason)?.[0] ?? 'INVALID_REQUEST'
  // A hello that came too late, after a sleep of the machine say, is worth another try.
  if (match === 'HELLO_REQUIRED') return undefined
  return LogloomError.fromWire({
    code: match,
    message: `the broker closed the connection: ${reason || 'policy violation'}`,
    retriable: false,
    hint: 'correct the cause before connecting again',
  })
}

// The port through which nodes talk to each other (DESIGN 9): requests and replies between named nodes. Production: one WebSocket per pair
// of nodes; the simulator loses, delays, repeats and reorders.
//
// A call promises little, and protocols above are written for that: the request may be carried out never, once or several times, now or
// later, whatever the caller saw, unless it got the reply. Handlers are therefore idempotent.

/** A node of a cluster, by the name that its operator gave it; see {@link nodeIdPattern}. */
export type NodeId = string

export const nodeIdPattern = /^[a-z0-9][a-z0-9-]{0,31}$/

/** What a message carries. Bytes are shared, not copied: neither side changes them while the call runs, and the receiver owns its copy. */
export type MessageValue =
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | readonly MessageValue[]
  | { readonly [key: string]: MessageValue }

/** Keys whose value is undefined are left out. */
export type Message = { readonly [key: string]: MessageValue | undefined }

export interface CallOptions {
  /** Until the reply, ms; past it the call rejects with TIMEOUT. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal
}

/** Serves one verb. What it rejects with reaches the caller as a {@link RemoteError} with its `code` (INTERNAL without one) and message. */
export type Handler = (from: NodeId, request: Message) => Promise<Message>

export interface Net {
  /** This node. */
  readonly self: NodeId
  /**
   * Sends a request and resolves with the reply. `to` may be this node: the handler is then called without a copy. @throws {NetError} when
   * no reply came, {@link RemoteError} when the handler rejected, the signal's reason when aborted
   */
  call(to: NodeId, verb: string, request: Message, options: CallOptions): Promise<Message>
  /** One handler per verb; verbs are named `service.verb`. Returns the way to stop serving it. */
  handle(verb: string, handler: Handler): () => void
}

/** No reply came. UNREACHABLE: the request was not sent; TIMEOUT and BROKEN: it may have been carried out, or be carried out later. */
export class NetError extends Error {
  override readonly name = 'NetError'
  readonly code: 'UNREACHABLE' | 'TIMEOUT' | 'BROKEN'

  constructor(code: NetError['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** The node answered with an error. */
export class RemoteError extends Error {
  override readonly name = 'RemoteError'
  readonly code: string
  readonly from: NodeId

  constructor(from: NodeId, code: string, message: string) {
    super(message)
    this.from = from
    this.code = code
  }
}

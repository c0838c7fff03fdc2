// Calls that wait for a reply.
//
// Guarantees: every call settles once: with its reply, an error, the signal's reason, or at its deadline, which one sweep finds (no timer per
// call). Bytes of calls that were not sent yet are kept here and counted, and are let go when the call settles.

import { type CallOptions, type Message, NetError, type NodeId } from '../../loglets/net.ts'

interface Waiting {
  readonly to: NodeId
  readonly verb: string
  readonly timeoutMs: number
  readonly deadline: number
  readonly resolve: (reply: Message) => void
  readonly reject: (error: unknown) => void
  readonly forgetSignal: () => void
  /** Not sent yet. */
  unsent: Uint8Array | undefined
}

export class CallTable {
  private readonly waiting = new Map<number, Waiting>()
  private nextId = 1
  /** Of calls that were not sent yet. */
  unsentBytes = 0

  get size(): number {
    return this.waiting.size
  }

  /** Adds a call; `begin` gets its id once the promise exists. With `unsent` the call counts as not sent until `markSent`. */
  add(
    to: NodeId,
    verb: string,
    now: number,
    options: CallOptions,
    begin: (id: number) => Uint8Array | undefined,
  ): Promise<Message> {
    const { timeoutMs, signal } = options
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason as Error)
        return
      }
      const id = this.nextId++
      const abort = (): void => this.fail(id, signal?.reason)
      const call: Waiting = {
        to,
        verb,
        timeoutMs,
        deadline: now + timeoutMs,
        resolve,
        reject,
        forgetSignal: () => signal?.removeEventListener('abort', abort),
        unsent: undefined,
      }
      signal?.addEventListener('abort', abort, { once: true })
      this.waiting.set(id, call)
      try {
        call.unsent = begin(id)
        // Settled by what `begin` found.
        if (!this.waiting.has(id)) call.unsent = undefined
        this.unsentBytes += call.unsent?.length ?? 0
      } catch (error) {
        // Not in this turn: a caller that tries again without a pause must not keep the event loop from connecting.
        setImmediate(() => this.fail(id, error))
      }
    })
  }

  resolve(id: number, reply: Message): void {
    this.take(id)?.resolve(reply)
  }

  fail(id: number, error: unknown): void {
    this.take(id)?.reject(error)
  }

  /** Rejects calls at their deadline: those that were not sent with UNREACHABLE, the others with TIMEOUT. */
  sweep(now: number): void {
    for (const [id, { deadline, to, verb, timeoutMs, unsent }] of this.waiting)
      if (deadline <= now)
        this.fail(
          id,
          unsent === undefined
            ? new NetError('TIMEOUT', `no reply of ${to} to ${verb} within ${timeoutMs} ms`)
            : new NetError(
                'UNREACHABLE',
                `no connection to ${to} for ${verb} within ${timeoutMs} ms (timeoutMs)`,
              ),
        )
  }

  /** Sends, in order, everything that was not sent. */
  sendUnsent(send: (bytes: Uint8Array) => void): void {
    for (const call of this.waiting.values()) {
      const { unsent } = call
      if (unsent === undefined) continue
      this.letGo(call)
      send(unsent)
    }
  }

  /** Rejects all calls. */
  failAll(code: NetError['code'], message: string): void {
    for (const id of this.waiting.keys()) this.fail(id, new NetError(code, message))
  }

  private take(id: number): Waiting | undefined {
    const call = this.waiting.get(id)
    if (call === undefined) return undefined
    this.waiting.delete(id)
    this.letGo(call)
    call.forgetSignal()
    return call
  }

  private letGo(call: Waiting): void {
    this.unsentBytes -= call.unsent?.length ?? 0
    call.unsent = undefined
  }
}

// A socket that carries whole binary messages; Node and browsers implement it behind `#platform`, the broker's side in server.ts.
//
// Guarantees: messages arrive whole and in order, and `onClose` is called once, after the last of them. It does not know what they mean.

export interface FrameSocket {
  /** Queues a message; ignored once the socket is closing. The bytes must not change until they left. */
  send(bytes: Uint8Array): void
  /** Bytes accepted by `send` that did not leave yet. */
  readonly bufferedAmount: number
  /** The reason is cut to what a close frame holds. Browsers send 1000 in place of codes below 3000. */
  close(code?: number, reason?: string): void
  /** Set `onClose` first, then `onMessage`: messages flow from then on, none is lost before. */
  onMessage: (bytes: Uint8Array) => void
  onClose: (code: number, reason: string) => void
}

export interface OpenSocketOptions {
  readonly signal?: AbortSignal
  /** Until the connection is open, ms; default 10,000. */
  readonly timeoutMs?: number
  /** Largest message taken from the broker; default 64 MiB. */
  readonly frameBytesMax?: number
  /** PEM certificates of the authority that signed the broker's, in place of the system's; not in pages. */
  readonly ca?: string | readonly string[]
}

const reasonBytesMax = 123

/** The longest beginning of `reason` that a close frame can carry: 123 bytes of UTF-8, no character cut in two. */
export function closeReason(reason: string): string {
  const { read } = new TextEncoder().encodeInto(reason, new Uint8Array(reasonBytesMax))
  return reason.slice(0, read)
}

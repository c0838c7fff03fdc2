// A socket that carries whole binary messages; Node and browsers implement it behind `#platform`.

export interface FrameSocket {
  send(bytes: Uint8Array): void
  /** Bytes accepted by `send` that did not leave yet. */
  readonly bufferedAmount: number
  close(code?: number, reason?: string): void
  /** Set by the owner right after it got the socket. */
  onMessage: (bytes: Uint8Array) => void
  /** Called once, also when opening was the last thing that worked. */
  onClose: (code: number, reason: string) => void
}

export interface OpenSocketOptions {
  readonly signal?: AbortSignal
  /** Until the connection is open, ms. */
  readonly timeoutMs?: number
  readonly frameBytesMax?: number
}

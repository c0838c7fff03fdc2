// A socket without a peer: what the broker's side of a connection sees of the network.

import type { ServerSocket } from '../../wire/server.ts'

export class FakeSocket implements ServerSocket {
  onMessage: (bytes: Uint8Array) => void = () => {}
  onClose: (code: number, reason: string) => void = () => {}
  onPong: () => void = () => {}
  onPing: () => void = () => {}
  onText: () => void = () => {}
  onFault: () => void = () => {}
  onDrain: () => void = () => {}
  readonly bufferedAmount = 0
  readonly remoteAddress = '127.0.0.1'
  readonly remotePort = 1
  readonly partialBytes = 0
  isClosed = false
  private readonly onSend: (bytes: Uint8Array) => void

  constructor(onSend: (bytes: Uint8Array) => void) {
    this.onSend = onSend
  }

  send(bytes: Uint8Array): void {
    if (!this.isClosed) this.onSend(bytes)
  }

  sendPieces(pieces: readonly Uint8Array[]): void {
    this.send(Buffer.concat(pieces))
  }

  sendText(text: string): void {
    this.send(Buffer.from(text))
  }

  close(code = 1000, reason = ''): void {
    if (this.isClosed) return
    this.isClosed = true
    this.onClose(code, reason)
  }

  terminate(): void {
    this.close(1006)
  }

  pause(): void {}
  resume(): void {}
  cork(): void {}
  uncork(): void {}
  ping(): void {}
  watchBytes(): void {}

  ignoreRest(): void {}
}

// A TCP proxy that can be out of order for a while: then it ends every connection, old and new.

import { once } from 'node:events'
import { type AddressInfo, connect as dial, createServer, type Server, type Socket } from 'node:net'

export class BreakableProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #isCut = false
  /** Connections that came while it was out of order. */
  refused = 0

  private constructor(target: number) {
    this.#server = createServer(near => {
      near.on('error', () => {})
      if (this.#isCut) {
        this.refused++
        near.destroy()
        return
      }
      const far = dial(target, '127.0.0.1')
      far.on('error', () => {})
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one)
        one.pipe(other)
        one.on('close', () => {
          this.#sockets.delete(one)
          other.destroy()
        })
      }
    })
  }

  static async start(target: number): Promise<BreakableProxy> {
    const proxy = new BreakableProxy(target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`
  }

  cut(): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  mend(): void {
    this.#isCut = false
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

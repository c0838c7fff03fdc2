// A TCP proxy that cuts connections after chosen numbers of bytes, in the middle of a frame or between two, in either direction.

import { once } from 'node:events'
import { createServer, connect as dial, type AddressInfo, type Server, type Socket } from 'node:net'

export class CuttingProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  cuts = 0

  private constructor(target: number, bytesUntilCut: () => number | undefined) {
    this.#server = createServer(near => {
      const far = dial(target, '127.0.0.1')
      let left = bytesUntilCut()
      const cut = (): void => {
        near.destroy()
        far.destroy()
      }
      const relay = (from: Socket, to: Socket): void => {
        this.#sockets.add(from)
        from.on('data', (chunk: Buffer) => {
          if (left === undefined) {
            to.write(chunk)
            return
          }
          if (chunk.length <= left) to.write(chunk)
          else {
            // What got through is delivered before the end of the stream.
            this.cuts++
            to.end(chunk.subarray(0, left))
            from.destroy()
          }
          left = Math.max(0, left - chunk.length)
        })
        from.on('error', cut)
        from.on('close', () => {
          this.#sockets.delete(from)
          to.end()
        })
      }
      relay(near, far)
      relay(far, near)
    })
  }

  /** `bytesUntilCut` is asked once per connection; undefined lets it live. */
  static async start(
    target: number,
    bytesUntilCut: () => number | undefined,
  ): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(target, bytesUntilCut)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

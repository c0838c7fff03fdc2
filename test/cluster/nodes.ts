// Nodes on loopback for tests, and what tests of the link need beside them.

import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { silentLogger } from '../../broker/logger.ts'
import { PeerNet, type PeerNetOptions } from '../../broker/cluster/peer-net.ts'
import { nodeClock } from '../../loglets/node-clock.ts'

export const clusterSecret = 'a secret of thirty-two bytes at least'

export type NodeOverrides = Partial<PeerNetOptions>

let incarnations = 0

/** One node; its peers are added by `introduce` or given. */
export function openNode(self: string, overrides: NodeOverrides = {}): Promise<PeerNet> {
  return PeerNet.listen({
    self,
    clusterId: 'cluster-1',
    clusterSecret,
    incarnation: `i${++incarnations}`,
    host: '127.0.0.1',
    port: 0,
    peers: new Map(),
    logger: silentLogger,
    clock: nodeClock,
    peerTimeoutMs: 600,
    ...overrides,
  })
}

export function urlOf(node: { readonly port: number }): string {
  return `ws://127.0.0.1:${node.port}`
}

/** Adds each to the peers of the other. */
export function introduce(a: PeerNet, b: PeerNet): void {
  a.addPeer(b.self, urlOf(b))
  b.addPeer(a.self, urlOf(a))
}

/** Waits for a condition; fails after five seconds. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise(resolve => {
      setTimeout(resolve, 5)
    })
  }
}

/** A TCP proxy that can stop forwarding without closing anything, as a stopped process or a cut cable does. */
export class SilentProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** Connections taken so far. */
  taken = 0
  #silent = false

  private constructor(target: number) {
    this.#server = createServer(near => {
      this.taken++
      const far = connect(target, '127.0.0.1')
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from)
        from.on('data', (chunk: Buffer) => {
          if (!this.#silent) to.write(chunk)
        })
        from.on('error', () => {})
        from.on('close', () => {
          this.#sockets.delete(from)
          if (!this.#silent) to.destroy()
        })
      }
    })
  }

  static async start(target: number): Promise<SilentProxy> {
    const proxy = new SilentProxy(target)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  set silent(silent: boolean) {
    this.#silent = silent
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}

// A real pair of sockets over loopback: the broker's door on one side, whatever the test opens on the other.

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { wireLimits } from '../../wire/index.ts'
import { createSocketServer, type ServerSocket, type UpgradeVerdict } from '../../wire/server.ts'

export interface Loopback {
  readonly url: string
  /** Sockets accepted so far. */
  readonly sockets: readonly ServerSocket[]
  close(): Promise<void>
}

export interface LoopbackOptions {
  readonly frameBytesMax?: number
  readonly verify?: () => UpgradeVerdict
  readonly onSocket?: (socket: ServerSocket) => void
}

export async function openLoopback(options: LoopbackOptions = {}): Promise<Loopback> {
  const http = createServer()
  const sockets: ServerSocket[] = []
  const door = createSocketServer({
    frameBytesMax: options.frameBytesMax ?? wireLimits.frameBytesMax,
    verify: options.verify ?? (() => ({ ok: true })),
    onSocket: socket => {
      sockets.push(socket)
      options.onSocket?.(socket)
    },
  })
  http.on('upgrade', (request, socket, head: Buffer) => door.handleUpgrade(request, socket, head))
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return {
    url: `ws://127.0.0.1:${(http.address() as AddressInfo).port}/`,
    sockets,
    close: async () => {
      for (const socket of sockets) socket.terminate()
      door.close()
      http.close()
      await once(http, 'close')
    },
  }
}

/** A promise with its settling function outside. */
export function deferred<T>(): {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
} {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}

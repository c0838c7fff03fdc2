// A port for a listener whose address others must know before it listens.

import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/** Of the loopback address, from below the range from which systems give ports to whoever asks for any: nobody else asks for it soon. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(15_000, 32_000)
    const server = createServer()
    const isFree = await new Promise<boolean>(resolve => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!isFree) continue
    await new Promise(resolve => server.close(resolve))
    return port
  }
}

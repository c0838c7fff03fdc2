// A port for a listener whose address others must know before it listens.

import { createServer, type AddressInfo } from 'node:net'

/** Of the loopback address; nobody else asks for it soon. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

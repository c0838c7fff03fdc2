// A node in a process of its own: `echo-node.js NODE PEER=URL`. Prints its port; echoes, counts, and hangs when asked.

import { openNode } from './nodes.ts'

const [self = '', peer = ''] = process.argv.slice(2)
const [name = '', url = ''] = peer.split('=')
const net = await openNode(self, {
  incarnation: `p${process.pid}`,
  peers: new Map([[name, url]]),
  peerTimeoutMs: 2000,
})
net.handle('test.echo', async (_from, request) => request)
net.handle('test.take', async (_from, { bytes }) => ({ length: (bytes as Uint8Array).length }))
net.handle('test.hang', () => new Promise(() => {}))
process.stdout.write(`${net.port}\n`)

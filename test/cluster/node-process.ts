// Starts a node in another process (echo-node.ts, compiled) and makes it a peer.

import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { PeerNet } from '../../broker/cluster/peer-net.ts'
import { urlOf } from './nodes.ts'

const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/dist\/$/, '')

/** Resolves when it listens. */
export async function startEchoNode(name: string, peer: PeerNet): Promise<ChildProcess> {
  const child = spawn(
    process.execPath,
    [`${root}dist/test/cluster/echo-node.js`, name, `${peer.self}=${urlOf(peer)}`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout?.once('data', (line: Buffer) => resolve(Number(line.toString())))
    child.once('exit', code => reject(new Error(`the node ended with ${code}; is dist/ built?`)))
  })
  peer.addPeer(name, `ws://127.0.0.1:${port}`)
  return child
}

// Runs a cluster of node processes: each is a `logloom start` with a directory of its own below --data.
//
// Guarantees: says where each node is, once all serve; a node that ends by itself is told of, with its error and with the command that starts
// it again, and is not started again here (whoever kills one wants to see it gone); the first SIGINT or SIGTERM stops them all, gracefully,
// and ends with 0. When all have ended by themselves it ends with 1.

import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { makeDirectory } from '../make-directory.ts'
import { type DevNode, startNode } from './dev-node.ts'
import { exitCodes, UsageError } from './exit-codes.ts'
import type { Format } from './failure.ts'
import { writeJson, writeText } from './output.ts'
import { onStopSignal } from './stop-signal.ts'

const nodesMax = 9
/** From the clients' ports to those for the nodes, as in docs/operations.md. */
const peerPortDistance = 100
const highestPort = 65_535

/** Runs `logloom dev` until it is told to stop. @throws UsageError, DATA_DIR_UNWRITABLE */
export async function dev(flags: Readonly<Record<string, string>>, format: Format): Promise<void> {
  const count = whole(flags, 'nodes', 1, nodesMax)
  const port = whole(flags, 'port', 0, highestPort - nodesMax - peerPortDistance)
  const data = makeDirectory(flags['data'] ?? './.logloom-dev')
  const secretFile = join(data, 'cluster-secret')
  if (!existsSync(secretFile))
    writeFileSync(secretFile, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 })
  const names = Array.from({ length: count }, (_, i) => `n${i + 1}`)
  const peers = await peersOf(names, join(data, 'peers'), port)
  let stopping = false
  const stopped = new Promise<void>(done =>
    onStopSignal(() => {
      stopping = true
      done()
    }),
  )
  const nodes = names.map((node, i) =>
    startNode(
      node,
      {
        node,
        peers,
        'cluster-secret-file': secretFile,
        data: join(data, node),
        port: String(port === 0 ? 0 : port + i),
        loglet: flags['loglet'] ?? 'native',
      },
      format,
      () => stopping,
    ),
  )
  const all = Promise.all(nodes.map(({ ready }) => ready))
  const serving = await Promise.race([all, stopped])
  if (serving !== undefined) await announce(nodes, serving, peers, format)
  await Promise.race([stopped, Promise.all(nodes.map(({ ended }) => ended))])
  if (!stopping) process.exitCode = exitCodes.error
  stopping = true
  for (const { child } of nodes) child.kill('SIGTERM')
  await Promise.all(nodes.map(({ ended }) => ended))
}

async function announce(
  nodes: readonly DevNode[],
  serving: readonly ({ readonly url: string } | undefined)[],
  peers: string,
  format: Format,
): Promise<void> {
  const peerUrls = new Map(peers.split(',').map(peer => peer.split('=') as [string, string]))
  const list = nodes.flatMap(({ node, child }, i) => {
    const url = serving[i]?.url
    return url === undefined ? [] : [{ node, url, pid: child.pid, peerUrl: peerUrls.get(node) }]
  })
  if (list.length === 0) return
  if (format === 'json') {
    await writeJson({ event: 'ready', nodes: list })
    return
  }
  const lines = list.map(
    ({ node, url, pid, peerUrl }) => `ready ${node} ${url} pid=${pid} peers=${peerUrl}\n`,
  )
  await writeText(lines.join(''))
}

/** The listeners for nodes: chosen once, since every later start has to find the same ones. */
async function peersOf(names: readonly string[], file: string, port: number): Promise<string> {
  if (existsSync(file)) {
    const known = readFileSync(file, 'utf8').trim()
    const found = known.split(',').map(peer => peer.split('=')[0])
    if (found.join() === names.join()) return known
    throw new UsageError(
      `the directory holds a cluster of ${found.length} nodes, not of ${names.length}`,
      `use --nodes ${found.length}, or another --data`,
    )
  }
  const wished = names.map((_, i) => port + peerPortDistance + i)
  const ports = (port === 0 ? undefined : await bound(wished)) ?? (await bound(names.map(() => 0)))
  const peers = names.map((node, i) => `${node}=ws://127.0.0.1:${ports?.[i]}`).join(',')
  writeFileSync(file, `${peers}\n`)
  return peers
}

/** The ports, once each was free for a moment; 0 picks one. Undefined when one of them is in use. */
async function bound(wished: readonly number[]): Promise<readonly number[] | undefined> {
  const servers = wished.map(() => createServer())
  const listening = await Promise.allSettled(
    servers.map(
      (server, i) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject)
          server.listen(wished[i], '127.0.0.1', () =>
            resolve((server.address() as { port: number }).port),
          )
        }),
    ),
  )
  await Promise.all(servers.map(server => new Promise(done => server.close(done))))
  const ports = listening.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
  return ports.length === wished.length ? ports : undefined
}

function whole(
  flags: Readonly<Record<string, string>>,
  name: string,
  low: number,
  high: number,
): number {
  const value = Number(flags[name])
  if (Number.isSafeInteger(value) && value >= low && value <= high) return value
  throw new UsageError(
    `--${name} ${flags[name]} is not a whole number from ${low} to ${high}`,
    `use --${name} ${low === 0 ? 5640 : 3}`,
  )
}

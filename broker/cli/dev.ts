// Runs a cluster of node processes: each is a `logloom start` with a directory of its own below --data.
//
// Guarantees: says where each node is, once all serve; a node that ends by itself is told of and not started again (whoever kills one wants
// to see it gone); the first SIGINT or SIGTERM stops them all, gracefully, and ends with 0.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { UsageError } from './exit-codes.ts'
import type { Format } from './failure.ts'
import { note, writeJson, writeText } from './output.ts'
import { onStopSignal } from './stop-signal.ts'

interface DevNode {
  readonly node: string
  readonly child: ChildProcess
  /** Resolves with what the node said when it served; undefined when it ended first. */
  readonly ready: Promise<{ readonly url: string } | undefined>
  readonly ended: Promise<void>
}

const nodesMax = 9
/** Options that `npm start` gives the process too. */
const nodeFlags = ['--initial-old-space-size=256']

/** Runs `logloom dev` until it is told to stop. @throws UsageError */
export async function dev(flags: Readonly<Record<string, string>>, format: Format): Promise<void> {
  const count = whole(flags, 'nodes', 1, nodesMax)
  const port = whole(flags, 'port', 0, 65_535 - nodesMax)
  const data = resolve(flags['data'] ?? './.logloom-dev')
  mkdirSync(data, { recursive: true })
  const secretFile = join(data, 'cluster-secret')
  if (!existsSync(secretFile))
    writeFileSync(secretFile, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 })
  const names = Array.from({ length: count }, (_, i) => `n${i + 1}`)
  const peers = await peersOf(names, join(data, 'peers'))
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
      () => stopping,
    ),
  )
  const all = Promise.all(nodes.map(({ ready }) => ready))
  const serving = await Promise.race([all, stopped])
  if (serving !== undefined) await announce(nodes, serving, format)
  await Promise.race([stopped, Promise.all(nodes.map(({ ended }) => ended))])
  stopping = true
  for (const { child } of nodes) child.kill('SIGTERM')
  await Promise.all(nodes.map(({ ended }) => ended))
}

function startNode(
  node: string,
  settings: Readonly<Record<string, string>>,
  stopping: () => boolean,
): DevNode {
  const script = fileURLToPath(new URL('../../../broker/cli/logloom.cjs', import.meta.url))
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
  const args = [...nodeFlags, script, 'start', '--format', 'json', ...flags]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    // Ctrl-C in the terminal goes to the whole group: only this process is to act on it.
    detached: true,
  })
  const ended = new Promise<void>(done =>
    child.once('exit', (code, signal) => {
      if (!stopping())
        note(`node ${node} (pid ${child.pid}) ended with ${signal ?? `exit code ${code}`}`)
      done()
    }),
  )
  const line = new Promise<{ url: string }>(done => {
    createInterface({ input: child.stdout }).once('line', text =>
      done(JSON.parse(text) as { url: string }),
    )
  })
  return { node, child, ready: Promise.race([line, ended.then(() => undefined)]), ended }
}

async function announce(
  nodes: readonly DevNode[],
  serving: readonly ({ readonly url: string } | undefined)[],
  format: Format,
): Promise<void> {
  const list = nodes.flatMap(({ node, child }, i) => {
    const url = serving[i]?.url
    return url === undefined ? [] : [{ node, url, pid: child.pid }]
  })
  if (format === 'json') await writeJson({ event: 'ready', nodes: list })
  else
    await writeText(list.map(({ node, url, pid }) => `ready ${node} ${url} pid=${pid}\n`).join(''))
}

/** The listeners for nodes: chosen once, since every later start has to find the same ones. */
async function peersOf(names: readonly string[], file: string): Promise<string> {
  if (existsSync(file)) {
    const known = readFileSync(file, 'utf8').trim()
    const found = known.split(',').map(peer => peer.split('=')[0])
    if (found.join() === names.join()) return known
    throw new UsageError(
      `the directory holds a cluster of ${found.length} nodes, not of ${names.length}`,
      `use --nodes ${found.length}, or another --data`,
    )
  }
  const ports = await freePorts(names.length)
  const peers = names.map((node, i) => `${node}=ws://127.0.0.1:${ports[i]}`).join(',')
  writeFileSync(file, `${peers}\n`)
  return peers
}

/** Ports that are free now, all different. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
      return server
    }),
  )
  const ports = servers.map(server => (server.address() as { port: number }).port)
  await Promise.all(servers.map(server => new Promise(done => server.close(done))))
  return ports
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

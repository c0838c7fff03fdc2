// Three node processes on this machine, with a proxy in every link between two of them, so that each direction can be cut by itself.

import { execFileSync, spawn } from 'node:child_process'
import { appendFileSync, rmSync, statfsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createConnection, createServer, type Server, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Client, connect } from '../../client/index.ts'
import { type BrokerProcess, cliPath, startBrokerProcess, withDirectory } from './broker-process.ts'

export interface ClusterProcessOptions {
  /** The last node's data lies on a disk of its own that can be filled (needs root). */
  readonly smallDisk?: boolean
  /** Build that the nodes are started with. */
  readonly cli?: string
  /** More options of `logloom start`, for all nodes. */
  readonly args?: readonly string[]
}

/** Three nodes and a client of theirs, for as long as `work` takes. */
export function withCluster<T>(
  work: (cluster: ClusterOfProcesses, client: Client) => Promise<T>,
): Promise<T> {
  return withDirectory(async directory => {
    const cluster = await ClusterOfProcesses.start(join(directory, 'cluster'))
    const client = await connect(cluster.urls)
    try {
      return await work(cluster, client)
    } finally {
      await client.close()
      await cluster.close()
    }
  })
}

export class ClusterOfProcesses {
  readonly names: readonly string[]
  readonly urls: readonly string[]
  private cli = cliPath
  private args: readonly string[] = []
  /** Where the last node's own small disk is mounted. */
  smallDisk: string | undefined
  private readonly directory: string
  private readonly ports: readonly number[]
  private readonly peerPorts: readonly number[]
  private readonly links: ReadonlyMap<string, Link>
  private readonly processes: (BrokerProcess | undefined)[]

  private constructor(
    directory: string,
    ports: readonly number[],
    peerPorts: readonly number[],
    links: ReadonlyMap<string, Link>,
  ) {
    this.directory = directory
    this.ports = ports
    this.peerPorts = peerPorts
    this.links = links
    this.names = ports.map((_, i) => `n${i + 1}`)
    this.urls = ports.map(port => `ws://127.0.0.1:${port}`)
    this.processes = ports.map(() => undefined)
  }

  /** Starts all nodes, and resolves when all serve. */
  static async start(
    directory: string,
    nodes = 3,
    { smallDisk = false, cli = cliPath, args = [] }: ClusterProcessOptions = {},
  ): Promise<ClusterOfProcesses> {
    await mkdir(directory, { recursive: true })
    await writeFile(join(directory, 'secret'), 'a secret that the tests share\n')
    // Held until the proxies have theirs: they must not get one of these.
    const reserved = await reservePorts(2 * nodes)
    const ports = reserved.ports.slice(0, nodes)
    const peerPorts = reserved.ports.slice(nodes)
    const links = new Map<string, Link>()
    for (let from = 0; from < nodes; from++)
      for (let to = 0; to < nodes; to++)
        if (from !== to) links.set(`${from}>${to}`, await Link.to(peerPorts[to] as number))
    await reserved.release()
    const cluster = new ClusterOfProcesses(directory, ports, peerPorts, links)
    cluster.cli = cli
    cluster.args = args
    if (smallDisk) {
      const mount = join(directory, cluster.names.at(-1) as string)
      await mkdir(mount)
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2g', 'tmpfs', mount])
      cluster.smallDisk = mount
    }
    await Promise.all(cluster.names.map((_, i) => cluster.startNode(i)))
    return cluster
  }

  isUp(i: number): boolean {
    return this.processes[i] !== undefined
  }

  pid(i: number): number {
    return (this.processes[i] as BrokerProcess).pid
  }

  stderr(i: number): string {
    return this.processes[i]?.stderr() ?? ''
  }

  /** `cli`: of which build. */
  async startNode(i: number, cli = this.cli): Promise<void> {
    const peers = this.names.map((name, to) => {
      const port = to === i ? this.peerPorts[i] : this.links.get(`${i}>${to}`)?.port
      return `${name}=ws://127.0.0.1:${port}`
    })
    this.processes[i] = await startBrokerProcess({
      data: join(this.directory, this.names[i] as string, 'data'),
      port: this.ports[i] as number,
      cli,
      args: [
        '--node',
        this.names[i] as string,
        '--peers',
        peers.join(),
        '--cluster-secret-file',
        join(this.directory, 'secret'),
        ...this.args,
      ],
    })
  }

  /** @returns its exit code or the signal; undefined when it was down */
  async kill(i: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<number | string | undefined> {
    const process = this.processes[i]
    this.processes[i] = undefined
    return process?.kill(signal)
  }

  /**
   * The node's next sync fails (needs strace), upon which it has to end by itself. @returns its exit code, undefined when it did not sync
   */
  async failSync(i: number): Promise<number | string | undefined> {
    const broker = this.processes[i] as BrokerProcess
    const inject = 'inject=fdatasync:error=EIO'
    const args = ['-f', '-qq', '-o', '/dev/null', '-e', 'trace=fdatasync', '-e', inject]
    const strace = spawn('strace', [...args, '-p', String(broker.pid)], { stdio: 'ignore' })
    const timeout = new Promise<undefined>(resolve => setTimeout(() => resolve(undefined), 5000))
    const code = await Promise.race([broker.exited, timeout])
    strace.kill('SIGTERM')
    if (code === undefined) return undefined
    this.processes[i] = undefined
    return code
  }

  /** Takes all space on a node's own small disk; only for the last node of a cluster with `smallDisk`. */
  fillDisk(): void {
    const mount = this.smallDisk as string
    const ballast = join(mount, 'ballast')
    const { bavail, bsize } = statfsSync(mount)
    // The node goes on writing meanwhile, also while that is done: the last part is taken piece by piece.
    const most = Math.max(bsize, bavail * bsize - (64 << 20))
    execFileSync('fallocate', ['-l', String(most), ballast])
    for (const bytes of [64 << 10, 4096])
      try {
        for (;;) appendFileSync(ballast, Buffer.alloc(bytes))
      } catch (error) {
        if ((error as { code?: string }).code !== 'ENOSPC') throw error
      }
  }

  emptyDisk(): void {
    rmSync(join(this.smallDisk as string, 'ballast'), { force: true })
  }

  /** Whether the process of a node that should be up has ended. */
  async hasEnded(i: number): Promise<boolean> {
    const exited = this.processes[i]?.exited
    if (exited === undefined) return false
    const ended = await Promise.race([exited.then(() => true), Promise.resolve(false)])
    if (ended) this.processes[i] = undefined
    return ended
  }

  /** Nothing of node `from` reaches node `to`, nor do the answers to it. */
  cut(from: number, to: number): void {
    this.links.get(`${from}>${to}`)?.cut()
  }

  mend(): void {
    for (const link of this.links.values()) link.mend()
  }

  async close(): Promise<void> {
    await Promise.all(this.processes.map((_, i) => this.kill(i, 'SIGTERM')))
    for (const link of this.links.values()) link.close()
    if (this.smallDisk !== undefined) execFileSync('umount', ['-l', this.smallDisk])
  }
}

/** Ports that are free, all different, and stay so until the release. */
async function reservePorts(
  count: number,
): Promise<{ readonly ports: readonly number[]; release(): Promise<void> }> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
      return server
    }),
  )
  return {
    ports: servers.map(server => (server.address() as AddressInfo).port),
    release: async () => {
      await Promise.all(servers.map(server => new Promise(done => server.close(done))))
    },
  }
}

/** A proxy to one port. Cut, it holds its connections open and passes nothing, as a lost network does. */
class Link {
  private readonly server: Server
  private readonly sockets = new Set<Socket>()
  private isCut = false

  private constructor(server: Server, target: number) {
    this.server = server
    server.on('connection', near => {
      const far = createConnection(target, '127.0.0.1')
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.sockets.add(socket)
        if (this.isCut) socket.pause()
        socket.on('data', data => other.write(data))
        socket.on('error', () => {})
        socket.on('close', () => {
          this.sockets.delete(socket)
          other.destroy()
        })
      }
    })
  }

  static async to(target: number): Promise<Link> {
    const server = createServer()
    await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
    return new Link(server, target)
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  cut(): void {
    this.isCut = true
    for (const socket of this.sockets) socket.pause()
  }

  mend(): void {
    if (!this.isCut) return
    this.isCut = false
    // What was on its way is gone with the connection.
    for (const socket of this.sockets) socket.destroy()
  }

  close(): void {
    this.server.close()
    for (const socket of this.sockets) socket.destroy()
  }
}

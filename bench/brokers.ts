// Brokers, clusters and the bare loop, started for a scenario and stopped with it.

import { existsSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connect } from '../client/index.ts'
import { type BenchContext, sleep } from './context.ts'
import { type BenchProcess, scriptOf, startProcess } from './processes.ts'

const cli = fileURLToPath(new URL('../../broker/cli/logloom.cjs', import.meta.url))
/** Nobody else is on loopback; nodes want one all the same. */
const secret = 'bench-bench-bench-bench'
const machineUrl = new URL('emulate/machine.js', import.meta.url).href
const gaugesUrl = new URL('emulate/gauges.js', import.meta.url).href

export interface Server {
  readonly url: string
  readonly process: BenchProcess
  gauges(): Promise<Gauges>
  stop(signal?: NodeJS.Signals): Promise<void>
}

export interface Gauges {
  /** How late the event loop was since this was asked last, ms. */
  readonly delayP99: number
  /** CPU time of all threads since the start, ms. */
  readonly cpuMs: number
}

export interface BrokerOptions {
  readonly loglet: string
  readonly args?: readonly string[]
  /** Emulation; see emulate/machine.ts. */
  readonly env?: Readonly<Record<string, string>>
  /** Data of an earlier start. */
  readonly data?: string
}

/** One broker on its own. */
export async function startBroker(context: BenchContext, options: BrokerOptions): Promise<Server> {
  const data = options.data ?? context.directory('broker')
  const args = ['start', '--data', data, '--port', '0', '--format', 'json']
  const { loglet, env = {}, args: more = [] } = options
  return serve(context, data, env, [...args, '--loglet', loglet, ...more])
}

/** The bare loop: see speed/loop-server.ts. */
export async function startLoop(context: BenchContext): Promise<Server> {
  const directory = context.directory('loop')
  const gauges = join(directory, 'gauges.json')
  const process = startProcess(scriptOf('speed/loop-server.js'), [directory], {
    env: { BENCH_GAUGES_FILE: gauges },
    preload: [gaugesUrl],
  })
  context.defer(() => process.stop())
  return serverOf(process, (await process.line()).split(' ')[1] as string, gauges)
}

async function serve(
  context: BenchContext,
  data: string,
  env: Readonly<Record<string, string>>,
  args: readonly string[],
): Promise<Server> {
  const gauges = `${data}-gauges.json`
  const process = startProcess(cli, args, {
    env: { BENCH_GAUGES_FILE: gauges, ...env },
    preload: [gaugesUrl, ...(Object.keys(env).length > 0 ? [machineUrl] : [])],
  })
  context.defer(() => process.stop())
  const { url } = JSON.parse(await process.line()) as { url: string }
  return serverOf(process, url, gauges)
}

function serverOf(process: BenchProcess, url: string, file: string): Server {
  return {
    url,
    process,
    gauges: async () => {
      rmSync(file, { force: true })
      process.child.kill('SIGUSR2')
      while (!existsSync(file)) await sleep(5)
      return JSON.parse(readFileSync(file, 'utf8')) as Gauges
    },
    stop: signal => process.stop(signal),
  }
}

export interface NodeOptions {
  /** `logserver` alone: it stores and serves no clients. */
  readonly roles?: readonly ('broker' | 'logserver')[]
  readonly env?: Readonly<Record<string, string>>
  readonly args?: readonly string[]
}

export interface Cluster {
  /** Of the nodes that serve clients, in the order of the nodes. */
  readonly urls: readonly string[]
  readonly pids: readonly number[]
  stop(): Promise<void>
}

/** A cluster: each node is a process of its own. */
export async function startCluster(
  context: BenchContext,
  loglet: string,
  nodes: readonly NodeOptions[],
): Promise<Cluster> {
  const names = nodes.map((_, i) => `n${i + 1}`)
  const ports = await freePorts(nodes.length)
  const peers = names.map((name, i) => `${name}=ws://127.0.0.1:${ports[i]}`).join(',')
  const data = context.directory('cluster')
  const servers = await Promise.all(
    nodes.map(({ roles = ['broker', 'logserver'], env = {}, args = [] }, i) =>
      serve(context, join(data, names[i] as string), env, [
        'start',
        ...flagsOf({
          node: names[i] as string,
          peers,
          'cluster-secret': secret,
          data: join(data, names[i] as string),
          port: '0',
          format: 'json',
          roles: roles.join(','),
          loglet,
        }),
        ...args,
      ]),
    ),
  )
  return {
    urls: servers.flatMap(({ url }, i) =>
      (nodes[i]?.roles ?? ['broker']).includes('broker') ? [url] : [],
    ),
    pids: servers.map(({ process }) => process.pid),
    stop: async () => {
      await Promise.all(servers.map(server => server.stop()))
      context.remove(data)
    },
  }
}

function flagsOf(settings: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
}

/** The broker that runs the (first) sequencer of the open segment: clients next to it save a hop. */
export async function urlOfSequencer({ urls }: Cluster): Promise<string> {
  const client = await connect([...urls])
  const { segments } = await client.admin().describeLog()
  await client.close()
  const last = segments.at(-1) as { placement?: readonly string[] } | undefined
  const node = last?.placement?.[0]?.split('@')[0] ?? ''
  return urls[Number(node.slice(1)) - 1] ?? (urls[0] as string)
}

export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    servers.map(
      server =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
        }),
    ),
  )
  await Promise.all(servers.map(server => new Promise(done => server.close(done))))
  return ports
}

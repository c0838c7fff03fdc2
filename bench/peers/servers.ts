// The brokers of the comparison: started with data in a directory of the benchmark, on free ports; whatever is not there says so.

import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { freePorts, startBroker } from '../brokers.ts'
import { type BenchContext, sleep } from '../context.ts'
import { startProgram } from '../processes.ts'
import { NotRunError } from '../scenario.ts'
import { packageVersion } from '../../broker/package-version.ts'
import type { PeerKind } from './peer-client.ts'

/** `sync`: on the disk before the ack. `later`: written to the system before the ack, synced some time after it. */
export type Durability = 'sync' | 'later'

export interface PeerServer {
  readonly url: string
  /** Program and version. */
  readonly version: string
  /** How it was told to be durable. */
  readonly durability: string
}

type Starter = (context: BenchContext, durability: Durability) => Promise<PeerServer>

const startMs = 15_000
const { NATS_SERVER = 'nats-server', REDIS_SERVER = 'redis-server', KAFKA_BOOTSTRAP } = process.env

/** @throws NotRunError when it is not installed, or cannot do this */
export const peerServers: Readonly<Record<PeerKind, Starter>> = {
  logloom: async (context, durability) => {
    const isSync = durability === 'sync'
    const { url } = await startBroker(context, {
      loglet: 'file',
      ...(isSync ? {} : { env: { BENCH_NO_SYNC: '1' } }),
    })
    return {
      url,
      version: `logloom ${packageVersion()}`,
      durability: isSync ? 'loglet `file`' : 'loglet `file`, `fdatasync` replaced by nothing ¹',
    }
  },

  redis: async (context, durability) => {
    const version = versionOf(REDIS_SERVER, /v=([\d.]+)/)
    const [port = 0] = await freePorts(1)
    const fsync = durability === 'sync' ? 'always' : 'everysec'
    const options: Readonly<Record<string, string>> = {
      port: String(port),
      bind: '127.0.0.1',
      dir: context.directory('redis'),
      appendonly: 'yes',
      appendfsync: fsync,
      save: '',
      'auto-aof-rewrite-percentage': '0',
    }
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value])
    await startServer(context, REDIS_SERVER, flags, port)
    return {
      url: `redis://127.0.0.1:${port}`,
      version: `redis-server ${version}`,
      durability: `\`appendonly yes\`, \`appendfsync ${fsync}\``,
    }
  },

  nats: async (context, durability) => {
    const version = versionOf(NATS_SERVER, /v([\d.]+)/)
    const [major = 0, minor = 0] = version.split('.').map(Number)
    const isSync = durability === 'sync'
    if (isSync && major < 3 && minor < 10)
      throw new NotRunError(
        `nats-server ${version} cannot sync before an ack: \`sync_interval\` came with 2.10 (NATS_SERVER=… names another program)`,
      )
    const [port = 0] = await freePorts(1)
    const directory = context.directory('nats')
    const file = join(directory, 'nats.conf')
    writeFileSync(
      file,
      `listen: "127.0.0.1:${port}"\njetstream {\n  store_dir: "${directory}"\n${isSync ? '  sync_interval: always\n' : ''}}\n`,
    )
    await startServer(context, NATS_SERVER, ['-c', file], port)
    return {
      url: `nats://127.0.0.1:${port}`,
      version: `nats-server ${version}`,
      durability: isSync ? '`sync_interval: always`' : 'default (syncs every 2 minutes)',
    }
  },

  kafka: async (_context, durability) => {
    if (KAFKA_BOOTSTRAP === undefined || KAFKA_BOOTSTRAP === '')
      throw new NotRunError('KAFKA_BOOTSTRAP names no broker')
    const isSync = durability === 'sync'
    return {
      url: `${KAFKA_BOOTSTRAP}?flush=${isSync ? 1 : 0}`,
      version: 'the Kafka that KAFKA_BOOTSTRAP names, whose disk may be another',
      durability: isSync ? '`flush.messages=1`, `acks=all`' : 'default, `acks=all`',
    }
  },
}

async function startServer(
  context: BenchContext,
  program: string,
  args: readonly string[],
  port: number,
): Promise<void> {
  const server = startProgram(program, args)
  // Nobody reads what it says; a full pipe would stop it.
  server.child.stdout?.resume()
  context.defer(() => server.stop())
  const end = performance.now() + startMs
  while (!(await accepts(port))) {
    if (performance.now() > end || server.child.exitCode !== null)
      throw new Error(`${program} does not listen on port ${port}`)
    await sleep(50)
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

function versionOf(program: string, pattern: RegExp): string {
  try {
    const said = execFileSync(program, ['--version'], { encoding: 'utf8' })
    return pattern.exec(said)?.[1] ?? 'of an unknown version'
  } catch {
    throw new NotRunError(`${program} is not installed`)
  }
}

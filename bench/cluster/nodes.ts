// Nodes of a benchmark: one alone or a cluster, with a load on them.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connect } from '../../client/index.ts'
import { type BenchProcess, startProcess } from '../processes.ts'
import type { LoadOptions, LoadResult } from '../speed/options.ts'

const cli = fileURLToPath(new URL('../../../broker/cli/logloom.cjs', import.meta.url))
const loadClient = fileURLToPath(new URL('../speed/load-client.js', import.meta.url))
export const directory = mkdtempSync(
  join(process.env.BENCH_DIR ?? tmpdir(), 'logloom-cluster-bench-'),
)

export interface Side {
  readonly name: string
  readonly nodes: number
  readonly loglet: string
}

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const client = startProcess(loadClient, [JSON.stringify(options)])
  try {
    return JSON.parse(await client.line()) as LoadResult
  } finally {
    await client.stop()
  }
}

/** Starts the nodes; `work` gets the URL of the one with the (first) sequencer, and the pids of all. */
export async function withNodes<T>(
  side: Side,
  work: (url: string, pids: readonly number[]) => Promise<T>,
): Promise<T> {
  const data = mkdtempSync(join(directory, 'side-'))
  const args = ['--data', data, '--port', '0', '--format', 'json', '--loglet', side.loglet]
  const command = side.nodes === 1 ? ['start'] : ['dev', '--nodes', String(side.nodes)]
  const server: BenchProcess = startProcess(cli, [...command, ...args])
  try {
    const ready = JSON.parse(await server.line()) as {
      url?: string
      pid?: number
      nodes?: { node: string; url: string; pid: number }[]
    }
    if (ready.url !== undefined) return await work(ready.url, [ready.pid as number])
    const nodes = ready.nodes ?? []
    const client = await connect(nodes.map(({ url }) => url))
    const { segments } = await client.admin().describeLog()
    await client.close()
    const last = segments.at(-1) as { placement?: readonly string[] } | undefined
    const sequencer = last?.placement?.[0]?.split('@')[0]
    const { url = '' } = nodes.find(({ node }) => node === sequencer) ?? nodes[0] ?? {}
    return await work(
      url,
      nodes.map(({ pid }) => pid),
    )
  } finally {
    await server.stop()
    rmSync(data, { recursive: true, force: true })
  }
}

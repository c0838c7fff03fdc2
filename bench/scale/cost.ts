// What a record costs a broker: the CPU time of its process, as the kernel counts it, per record that a load got acked.

import { readdirSync, readFileSync } from 'node:fs'
import type { Server } from '../brokers.ts'
import { type LoadOptions, type LoadResult, runLoad } from '../speed/options.ts'

/** ms that all threads of a process have run, to the nanosecond (`schedstat`); NaN where the kernel does not say. */
export function cpuMsOf(pid: number): number {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`)
    return tasks.reduce((sum, task) => {
      const [ns] = readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')
      return sum + Number(ns) / 1e6
    }, 0)
  } catch {
    return Number.NaN
  }
}

export interface Cost {
  readonly recordsPerSecond: number
  readonly mb: number
  /** Of the broker, µs per record. */
  readonly cpuUs: number
  readonly p50: number
  readonly p99: number
}

/** Puts a load on the broker. */
export async function costOf(
  server: Server,
  load: Omit<LoadOptions, 'url' | 'hello'>,
): Promise<Cost> {
  const before = cpuMsOf(server.process.pid)
  const result: LoadResult = await runLoad({ ...load, url: server.url, hello: true })
  const cpuMs = cpuMsOf(server.process.pid) - before
  const { records, bytes, seconds, p50, p99 } = result
  return {
    recordsPerSecond: records / seconds,
    mb: bytes / 1e6 / seconds,
    cpuUs: (cpuMs * 1000) / records,
    p50,
    p99,
  }
}

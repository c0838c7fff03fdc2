// What a record costs a broker: the CPU time of its process, as the kernel counts it, per record that a load got acked.

import type { Server } from '../brokers.ts'
import type { PacedOptions } from '../speed/paced-client.ts'
import { type LoadOptions, type LoadResult, runLoad, runPaced } from '../speed/options.ts'

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
  const { cpuMs: before } = await server.gauges()
  const result: LoadResult = await runLoad({ ...load, url: server.url, hello: true })
  const cpuMs = (await server.gauges()).cpuMs - before
  const { records, bytes, seconds, p50, p99 } = result
  return {
    recordsPerSecond: records / seconds,
    mb: bytes / 1e6 / seconds,
    cpuUs: (cpuMs * 1000) / records,
    p50,
    p99,
  }
}

/** The same of a load at a fixed pace, whose latencies count from when each batch was due. */
export async function pacedCostOf(
  server: Server,
  load: Omit<PacedOptions, 'url' | 'hello'>,
): Promise<Pick<Cost, 'cpuUs' | 'p99'>> {
  const { cpuMs: before } = await server.gauges()
  const options: PacedOptions = { ...load, url: server.url, hello: true }
  const { p99, records = Number.NaN } = await runPaced('speed/paced-client.js', options)
  const cpuMs = (await server.gauges()).cpuMs - before
  return { cpuUs: (cpuMs * 1000) / records, p99 }
}

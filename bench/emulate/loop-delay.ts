// Preloaded into a server: how late its event loop is. SIGUSR2 writes what was seen since the last one to BENCH_LOOP_DELAY_FILE and begins anew.
//
// The delay of a timer of 1 ms, as perf_hooks' histogram sees it, less the millisecond that was asked for: the same ruler for every server.

import { renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const file = process.env.BENCH_LOOP_DELAY_FILE
const resolutionMs = 1

if (file !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs })
  delays.enable()
  process.on('SIGUSR2', () => {
    const ms = (ns: number): number => Math.max(0, ns / 1e6 - resolutionMs)
    const seen = { p50: ms(delays.percentile(50)), p99: ms(delays.percentile(99)) }
    writeFileSync(`${file}.new`, JSON.stringify(seen))
    renameSync(`${file}.new`, file)
    delays.reset()
  })
}

// Preloaded into a server: how late its event loop is and how much CPU it used. SIGUSR2 writes it to BENCH_GAUGES_FILE; delays begin anew then.
//
// The delay of a timer of 1 ms, as perf_hooks' histogram sees it, less the millisecond that was asked for: the same ruler for every server.

import { renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const file = process.env.BENCH_GAUGES_FILE
const resolutionMs = 1

if (file !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: resolutionMs })
  delays.enable()
  process.on('SIGUSR2', () => {
    const ms = (ns: number): number => Math.max(0, ns / 1e6 - resolutionMs)
    // Of all threads, since the start.
    const { user, system } = process.cpuUsage()
    const seen = {
      delayP99: ms(delays.percentile(99)),
      cpuMs: (user + system) / 1000,
    }
    writeFileSync(`${file}.new`, JSON.stringify(seen))
    renameSync(`${file}.new`, file)
    delays.reset()
  })
}

// Preloaded into a server: SIGUSR2 begins a profile of its main thread, the next one ends it and writes it to BENCH_PROFILE_FILE.
//
// V8's own sampling profiler, by the clock, every 200 µs. What waits in the kernel counts as the call that waits.

import { renameSync, writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'

const file = process.env.BENCH_PROFILE_FILE
const intervalUs = 200

if (file !== undefined) {
  const session = new Session()
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.setSamplingInterval', { interval: intervalUs })
  let running = false
  process.on('SIGUSR2', () => {
    running = !running
    if (running) session.post('Profiler.start')
    else
      session.post('Profiler.stop', (_error, { profile }) => {
        writeFileSync(`${file}.new`, JSON.stringify(profile))
        renameSync(`${file}.new`, file)
      })
  })
}

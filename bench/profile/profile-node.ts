// Preloaded into each node of main.ts: V8's profiler from the start to the exit, written to PROFILE_DIR.

import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { join } from 'node:path'

const session = new Session()
session.connect()
session.post('Profiler.enable')
session.post('Profiler.start')
process.once('exit', () => {
  // Answered before `post` returns, as everything in this process is.
  session.post('Profiler.stop', (error, { profile }) => {
    const path = join(process.env.PROFILE_DIR ?? '.', `${process.pid}.cpuprofile`)
    if (error === null) writeFileSync(path, JSON.stringify(profile))
  })
})

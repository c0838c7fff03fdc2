// The disk under an open load and nothing else: pieces are due at a fixed rate, what is due goes to the file in one write, and one fdatasync
// covers it. No socket, no frame, no broker: what a producer would wait for if all but the disk were free.
// Usage: node paced-disk.js JSON (PacedDiskOptions); prints p50 and p99 in ms as JSON.

import { fdatasync, openSync, writev } from 'node:fs'
import { join } from 'node:path'
import { type Pace, Schedule } from '../speed/pace.ts'
import { quantileOf } from '../stats.ts'

export interface PacedDiskOptions extends Pace {
  readonly directory: string
  /** Of one piece. */
  readonly bytes: number
}

const options = JSON.parse(process.argv[2] ?? '') as PacedDiskOptions
const fd = openSync(join(options.directory, 'paced.log'), 'w')
const piece = Buffer.alloc(options.bytes, 'x')
const schedule = new Schedule(options)
let position = 0
let isRunning = false

schedule.every(run)

/** Takes what is due; what becomes due meanwhile is taken next. */
function run(): void {
  const count = schedule.due - schedule.latencies.length
  if (isRunning || count === 0) return
  isRunning = true
  const pieces = Array.from({ length: count }, () => piece)
  writev(fd, pieces, position, (error, written) => {
    if (error !== null) throw error
    if (written !== count * piece.length) throw new Error(`short write: ${written}`)
    position += written
    fdatasync(fd, syncError => {
      if (syncError !== null) throw syncError
      for (let i = 0; i < count; i++) schedule.done()
      isRunning = false
      if (schedule.isOver) finish()
      else run()
    })
  })
}

function finish(): void {
  const { latencies } = schedule
  const found = { p50: quantileOf(latencies, 0.5), p99: quantileOf(latencies, 0.99) }
  process.stdout.write(`${JSON.stringify(found)}\n`)
}

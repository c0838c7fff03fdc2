// The disk under an open load and nothing else: pieces are due at a fixed rate, what is due goes to the file in one write, and one fdatasync
// covers it. No socket, no frame, no broker: what a producer would wait for if all but the disk were free.
// Usage: node paced-disk.js JSON (PacedDiskOptions); prints a PacedDiskResult.

import { fdatasync, openSync, writev } from 'node:fs'
import { join } from 'node:path'
import { quantileOf } from '../stats.ts'

export interface PacedDiskOptions {
  readonly directory: string
  /** Of one piece. */
  readonly bytes: number
  /** Pieces per second. */
  readonly rate: number
  readonly seconds: number
}

export interface PacedDiskResult {
  /** From when a piece was due until it was synced, ms. */
  readonly p50: number
  readonly p99: number
  /** Of write and fdatasync alone, ms. */
  readonly syncP99: number
}

const options = JSON.parse(process.argv[2] ?? '') as PacedDiskOptions
const { directory, bytes, rate, seconds } = options
const fd = openSync(join(directory, 'paced.log'), 'w')
const piece = Buffer.alloc(bytes, 'x')
const total = Math.round(rate * seconds)
const latencies: number[] = []
const syncs: number[] = []
const start = performance.now()
let position = 0
let running = false

tick()

function tick(): void {
  run()
  if (latencies.length < total) setTimeout(tick, 1)
}

/** Takes what is due; whatever becomes due meanwhile is taken next. */
function run(): void {
  const due = Math.min(total, Math.floor(((performance.now() - start) / 1000) * rate) + 1)
  const count = due - latencies.length
  if (running || count === 0) return
  running = true
  const begun = performance.now()
  writev(
    fd,
    Array.from({ length: count }, () => piece),
    position,
    (error, written) => {
      if (error !== null || written !== count * bytes) throw error ?? new Error('short write')
      position += written
      fdatasync(fd, syncError => {
        if (syncError !== null) throw syncError
        const now = performance.now()
        syncs.push(now - begun)
        for (let i = 0; i < count; i++)
          latencies.push(now - start - (latencies.length / rate) * 1000)
        running = false
        if (latencies.length < total) run()
        else finish()
      })
    },
  )
}

function finish(): void {
  const result: PacedDiskResult = {
    p50: quantileOf(latencies, 0.5),
    p99: quantileOf(latencies, 0.99),
    syncP99: quantileOf(syncs, 0.99),
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
  process.exit(0)
}

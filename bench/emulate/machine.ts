// Preloaded into a broker or log server: gives its process the disk or the network card of a smaller machine, or a disk that does not sync.
//
//   BENCH_DISK_MB      MB/s that the process writes to files, all together: a write waits until its bytes fit (token bucket)
//   BENCH_DISK_FACTOR  bytes that the disk is charged for each byte written: 2 = something else on the same disk writes as much again
//   BENCH_NIC_MB       MB/s that the process sends to its sockets, all together
//   BENCH_NO_SYNC=1    fdatasync and fsync do nothing
//
// Only node:fs and node:net are replaced: what LMDB writes of its own is not charged. For benchmarks; no setting of the product.

import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import net from 'node:net'

/** Bytes become free at a steady rate; who wants more than are free waits. At most `burstMs` worth of them are saved up. */
class Bucket {
  private readonly bytesPerMs: number
  private freeAt = performance.now()

  constructor(mbPerSecond: number) {
    this.bytesPerMs = (mbPerSecond * 1e6) / 1000
  }

  take(bytes: number, then: () => void): void {
    const now = performance.now()
    this.freeAt = Math.max(this.freeAt, now - burstMs) + bytes / this.bytesPerMs
    const waitMs = this.freeAt - now
    if (waitMs < 1) then()
    else setTimeout(then, waitMs)
  }
}

const burstMs = 5
const { BENCH_DISK_MB, BENCH_DISK_FACTOR = '1', BENCH_NIC_MB, BENCH_NO_SYNC } = process.env

type Callback = (...results: unknown[]) => void
type Call = (...args: unknown[]) => unknown
const functions = fs as unknown as Record<string, Call>

if (BENCH_DISK_MB !== undefined) limitDisk(Number(BENCH_DISK_MB), Number(BENCH_DISK_FACTOR))
if (BENCH_NO_SYNC === '1') {
  for (const name of ['fdatasync', 'fsync'])
    functions[name] = (...args) => setImmediate(args.at(-1) as Callback, null)
  syncBuiltinESMExports()
}
if (BENCH_NIC_MB !== undefined) limitNetwork(Number(BENCH_NIC_MB))

function limitDisk(mbPerSecond: number, factor: number): void {
  const disk = new Bucket(mbPerSecond)
  const wrap = (name: string, bytesOf: (args: readonly unknown[]) => number): void => {
    const real = functions[name] as Call
    functions[name] = (...args) => {
      disk.take(bytesOf(args) * factor, () => real(...args))
    }
  }
  wrap('writev', ([, buffers]) =>
    (buffers as readonly Uint8Array[]).reduce((sum, b) => sum + b.length, 0),
  )
  wrap('write', ([, buffer]) => (buffer as Uint8Array).length)
  syncBuiltinESMExports()
}

function limitNetwork(mbPerSecond: number): void {
  const card = new Bucket(mbPerSecond)
  const socket = net.Socket.prototype as unknown as Record<'_write' | '_writev', Call>
  const { _write: write, _writev: writev } = socket
  socket._write = function (this: unknown, ...args) {
    const [chunk, encoding, done] = args as [Uint8Array | string, BufferEncoding, Callback]
    const bytes = typeof chunk === 'string' ? Buffer.byteLength(chunk, encoding) : chunk.length
    card.take(bytes, () => write.call(this, chunk, encoding, done))
  }
  socket._writev = function (this: unknown, ...args) {
    const [chunks, done] = args as [readonly { chunk: Uint8Array | string }[], Callback]
    const bytes = chunks.reduce((sum, { chunk }) => sum + chunk.length, 0)
    card.take(bytes, () => writev.call(this, chunks, done))
  }
}

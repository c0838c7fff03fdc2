// Sends pre-encoded produce frames and counts the answers: the same program against the bare loop and against the broker, so that
// both sides do the same work outside the thing measured. Usage: node load-client.js JSON (LoadOptions)

import { WebSocket } from 'ws'
import { packFrame, unpackFrame } from '../../wire/index.ts'
import { makeFrames } from './frames.ts'
import { type LoadOptions, type LoadResult, socketOptions } from './options.ts'

const options = JSON.parse(process.argv[2] ?? '') as LoadOptions
interface Refusal {
  readonly code: string
  readonly retryAfterMs?: number
}

/** When the broker does not say. */
const retryMs = 100
const { frames, recordsPerBatch } = makeFrames(options)
const socket = new WebSocket(options.url, socketOptions)
socket.binaryType = 'nodebuffer'
await new Promise((resolve, reject) => {
  socket.once('open', resolve)
  socket.once('error', reject)
})
if (options.hello) await hello()
const result = await (options.rate === undefined ? atFullSpeed() : atRate(options.rate))
process.stdout.write(`${JSON.stringify(result)}\n`)
socket.terminate()

function hello(): Promise<void> {
  return new Promise(resolve => {
    socket.once('message', () => resolve())
    socket.send(packFrame({ op: 'hello', id: 0, protocol: 1, client: 'bench' }))
  })
}

function atFullSpeed(): Promise<LoadResult> {
  const sentAt: number[] = []
  const latencies: number[] = []
  const start = performance.now()
  const end = start + options.seconds * 1000
  let sent = 0
  let answered = 0
  return new Promise(resolve => {
    const send = (): void => {
      sentAt.push(performance.now())
      socket.send(frames[sent++ % frames.length] as Uint8Array)
    }
    socket.on('message', data => {
      if (isTurnedAway(data as Buffer)) return
      const now = performance.now()
      // Answers may come in any order; with equal requests the oldest is a fair partner.
      latencies.push(now - (sentAt[answered++] as number))
      if (now < end) send()
      else if (answered === sent) resolve(summary(answered, (now - start) / 1000, latencies))
    })
    for (let i = 0; i < options.inFlight; i++) send()
  })
}

function atRate(perSecond: number): Promise<LoadResult> {
  const sentAt: number[] = []
  const latencies: number[] = []
  const start = performance.now()
  const total = Math.round(perSecond * options.seconds)
  return new Promise(resolve => {
    socket.on('message', data => {
      if (isTurnedAway(data as Buffer)) return
      latencies.push(performance.now() - (sentAt[latencies.length] as number))
      if (latencies.length === total)
        resolve(summary(total, (performance.now() - start) / 1000, latencies))
    })
    const tick = (): void => {
      const due = Math.min(total, Math.floor(((performance.now() - start) / 1000) * perSecond) + 1)
      while (sentAt.length < due) {
        socket.send(frames[sentAt.length % frames.length] as Uint8Array)
        // From when it was due: a stall counts for all that it delays.
        sentAt.push(start + (sentAt.length / perSecond) * 1000)
      }
      if (sentAt.length < total) setTimeout(tick, 1)
    }
    tick()
  })
}

/** True when the broker turned the request away for now: it is sent again when the broker says, as the SDK would. @throws on any other error */
function isTurnedAway(data: Buffer): boolean {
  // Replies without an error are far shorter than any error.
  if (data.length < 80) return false
  const { id, error } = unpackFrame(data) as { id: number; error?: Refusal }
  if (error === undefined) return false
  if (error.code !== 'THROTTLED') throw new Error(JSON.stringify(error))
  const again = (): void => socket.send(frames[id - 1] as Uint8Array)
  setTimeout(again, error.retryAfterMs ?? retryMs)
  return true
}

function summary(batches: number, seconds: number, latencies: number[]): LoadResult {
  latencies.sort((a, b) => a - b)
  const at = (q: number): number =>
    latencies[Math.min(latencies.length - 1, Math.floor(q * latencies.length))] ?? 0
  return {
    batches,
    records: batches * recordsPerBatch,
    bytes: batches * recordsPerBatch * options.recordBytes,
    seconds,
    p50: at(0.5),
    p99: at(0.99),
  }
}

// Sends pre-encoded produce frames and counts the answers: the same program against the bare loop and against the broker, so that
// both sides do the same work outside the thing measured. Usage: node load-client.js JSON (LoadOptions)

import { WebSocket } from 'ws'
import { makeFrames } from './frames.ts'
import { type LoadOptions, type LoadResult, socketOptions } from './options.ts'
import { helloFrame, isTurnedAway } from './replies.ts'

const options = JSON.parse(process.argv[2] ?? '') as LoadOptions
const { frames, recordsPerBatch } = makeFrames(options)
const socket = new WebSocket(options.url, socketOptions)
socket.binaryType = 'nodebuffer'
await new Promise((resolve, reject) => {
  socket.once('open', resolve)
  socket.once('error', reject)
})
if (options.hello) await hello()
const result = await atFullSpeed()
process.stdout.write(`${JSON.stringify(result)}\n`)
socket.terminate()

function hello(): Promise<void> {
  return new Promise(resolve => {
    socket.once('message', () => resolve())
    socket.send(helloFrame)
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
      if (isTurnedAway(data as Buffer, index => socket.send(frames[index] as Uint8Array))) return
      const now = performance.now()
      // Answers may come in any order; with equal requests the oldest is a fair partner.
      latencies.push(now - (sentAt[answered++] as number))
      if (now < end) send()
      else if (answered === sent) resolve(summary(answered, (now - start) / 1000, latencies))
    })
    for (let i = 0; i < options.inFlight; i++) send()
  })
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

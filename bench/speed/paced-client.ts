// Sends produce requests at a fixed pace, whatever becomes of them, and times each from when it was due: the same program against the bare loop and
// against the broker. Usage: node paced-client.js JSON (PacedOptions); prints p50 and p99 in ms, and the number of records, as JSON.

import { quantileOf } from '../stats.ts'
import { makeFrames } from './frames.ts'
import { type Pace, Schedule } from './pace.ts'
import { clientFrame, rawLink } from './raw-link.ts'
import type { LoadOptions, PacedResult } from './options.ts'
import { helloFrame, isTurnedAway } from './replies.ts'

export type PacedOptions = Pace &
  Pick<LoadOptions, 'url' | 'hello' | 'topic' | 'recordBytes' | 'batchBytes'>

const options = JSON.parse(process.argv[2] ?? '') as PacedOptions
const { frames: plain, recordsPerBatch } = makeFrames(options)
const frames = plain.map(clientFrame)
let onReply: (reply: Buffer) => void = () => {}
const link = await rawLink(options.url, reply => onReply(reply))
if (options.hello) {
  const welcome = new Promise<void>(resolve => {
    onReply = () => resolve()
  })
  link.send(clientFrame(helloFrame))
  await welcome
}

const schedule = new Schedule(options)
const send = (index: number): void => link.send(frames[index % frames.length] as Uint8Array)
let sent = 0
onReply = reply => {
  if (isTurnedAway(reply, send)) return
  schedule.done()
  if (schedule.isOver) finish()
}
schedule.every(() => {
  while (sent < schedule.due) send(sent++)
})

function finish(): void {
  const { latencies } = schedule
  const found: PacedResult = {
    p50: quantileOf(latencies, 0.5),
    p99: quantileOf(latencies, 0.99),
    records: latencies.length * recordsPerBatch,
  }
  process.stdout.write(`${JSON.stringify(found)}\n`)
  link.close()
}

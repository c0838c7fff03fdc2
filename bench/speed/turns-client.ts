// One client that loads several brokers in turns of a moment each, round after round: whatever else the machine does hits all of them alike, which no
// program that is started for each of them can do. Usage: node turns-client.js JSON (TurnsOptions)

import { readFileSync } from 'node:fs'
import { WebSocket } from 'ws'
import { packFrame, unpackFrame } from '../../wire/index.ts'
import { makeFrames } from './frames.ts'
import { socketOptions, type Turn, type TurnsOptions } from './options.ts'

const options = JSON.parse(process.argv[2] ?? '') as TurnsOptions
const { frames, recordsPerBatch } = makeFrames(options)
const sides = await Promise.all(options.sides.map(open))
const turns: Turn[][] = sides.map(() => [])
for (let round = -options.warmUps; round < options.rounds; round++)
  for (let n = 0; n < sides.length; n++) {
    const i = (n + Math.max(0, round)) % sides.length
    const turn = await loaded(sides[i] as WebSocket)
    if (round >= 0) turns[i]?.push(turn)
  }
process.stdout.write(`${JSON.stringify(turns)}\n`)
for (const socket of sides) socket.terminate()

async function open({ url, token, caFile }: TurnsOptions['sides'][number]): Promise<WebSocket> {
  const ca = caFile === undefined ? {} : { ca: readFileSync(caFile) }
  const socket = new WebSocket(url, { ...socketOptions, ...ca })
  socket.binaryType = 'nodebuffer'
  await new Promise((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  const auth = token === undefined ? {} : { auth: { token } }
  socket.send(packFrame({ op: 'hello', id: 0, protocol: 1, client: 'bench', ...auth }))
  const [reply] = await new Promise<Buffer[]>(resolve => {
    socket.once('message', data => resolve([data as Buffer]))
  })
  refuse(reply as Buffer)
  return socket
}

/** As fast as answers come, until the turn is over and all are answered. */
function loaded(socket: WebSocket): Promise<Turn> {
  const sentAt: number[] = []
  const latencies: number[] = []
  const start = performance.now()
  const end = start + options.turnMs
  return new Promise((resolve, reject) => {
    const send = (): void => {
      socket.send(frames[sentAt.length % frames.length] as Uint8Array)
      sentAt.push(performance.now())
    }
    const onMessage = (data: unknown): void => {
      try {
        if ((data as Buffer).length >= 80) refuse(data as Buffer)
      } catch (error) {
        reject(error)
        return
      }
      const now = performance.now()
      latencies.push(now - (sentAt[latencies.length] as number))
      if (now < end) send()
      else if (latencies.length === sentAt.length) {
        socket.off('message', onMessage)
        latencies.sort((a, b) => a - b)
        resolve({
          requests: latencies.length,
          bytes: latencies.length * recordsPerBatch * options.recordBytes,
          seconds: (now - start) / 1000,
          p50: latencies[latencies.length >> 1] ?? 0,
        })
      }
    }
    socket.on('message', onMessage)
    for (let i = 0; i < options.inFlight; i++) send()
  })
}

/** @throws what the broker says, if it is an error: nothing is measured then */
function refuse(data: Buffer): void {
  const { error } = unpackFrame(data)
  if (error !== undefined) throw new Error(JSON.stringify(error))
}

// Following consumers: receive what is produced and count its bytes; return credit to a broker as they go. Prints a line once all follow, and
// for each line on its standard input one with what they have received so far. Usage: node follow-client.js URL TOPIC|- [CONSUMERS=1] [PARTITIONS=1] (- = the bare loop)

import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'
import { packFrame, unpackFrame } from '../../wire/index.ts'
import { socketOptions } from './options.ts'

const [url = '', topic = '-', consumers = '1', partitions = '1'] = process.argv.slice(2)
const isLoop = topic === '-'
/** Connections that are made at the same time. */
const dialsMax = 100
/** Of each consumer; less when there are many, so that all of them fit into this process. */
const creditBytes = Math.max(65_536, Math.min(4 << 20, Math.floor((256 << 20) / Number(consumers))))
let bytes = 0

for (let first = 0; first < Number(consumers); first += dialsMax)
  await Promise.all(
    Array.from({ length: Math.min(dialsMax, Number(consumers) - first) }, (_, i) =>
      follow((first + i) % Number(partitions)),
    ),
  )
process.stdout.write('ready\n')
createInterface({ input: process.stdin }).on('line', () => {
  process.stdout.write(`${JSON.stringify({ bytes })}\n`)
})

/** Resolves once it is subscribed. */
function follow(partition: number): Promise<void> {
  const socket = new WebSocket(isLoop ? `${url}/follow` : url, socketOptions)
  socket.binaryType = 'nodebuffer'
  let unreturned = 0
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.on('open', () => {
      if (isLoop) resolve()
      else socket.send(packFrame({ op: 'hello', id: 0, protocol: 1, client: 'bench-follow' }))
    })
    socket.on('message', (data: Buffer) => {
      if (isLoop) bytes += data.length
      else onFrame(data)
    })

    function onFrame(data: Buffer): void {
      const frame = unpackFrame(data)
      if (frame.error !== undefined) throw new Error(JSON.stringify(frame.error))
      if (frame.id === 0)
        socket.send(
          packFrame({ op: 'subscribe', id: 1, topic, partition, from: 'end', credit: creditBytes }),
        )
      else if (frame.id === 1) resolve()
      else if (frame.op === 'deliver') {
        bytes += frame.bytes as number
        unreturned += frame.bytes as number
        if (unreturned < creditBytes / 4) return
        socket.send(packFrame({ op: 'credit', sub: frame.sub, bytes: unreturned }))
        unreturned = 0
      }
    }
  })
}

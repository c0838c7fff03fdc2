// A following consumer: receives what is produced and counts its bytes; returns credit to a broker as it goes. Prints a JSON line
// when its standard input ends. Usage: node follow-client.js URL TOPIC|- (- = the bare loop)

import { WebSocket } from 'ws'
import { packFrame, unpackFrame } from '../../wire/index.ts'
import { socketOptions } from './options.ts'

const [url, topic] = process.argv.slice(2)
if (url === undefined || topic === undefined) throw new Error('usage: follow-client URL TOPIC|-')
const creditBytes = 4 << 20
let bytes = 0
let unreturned = 0

const socket = new WebSocket(topic === '-' ? `${url}/follow` : url, socketOptions)
socket.binaryType = 'nodebuffer'
socket.on('open', () => {
  if (topic === '-') process.stdout.write('ready\n')
  else socket.send(packFrame({ op: 'hello', id: 0, protocol: 1, client: 'bench-follow' }))
})
socket.on('message', (data: Buffer) => {
  if (topic === '-') bytes += data.length
  else onFrame(data)
})
process.stdin.resume()
process.stdin.on('end', () => {
  process.stdout.write(`${JSON.stringify({ bytes })}\n`)
  socket.terminate()
})

function onFrame(data: Buffer): void {
  const frame = unpackFrame(data)
  if (frame.error !== undefined) throw new Error(JSON.stringify(frame.error))
  if (frame.id === 0)
    socket.send(
      packFrame({ op: 'subscribe', id: 1, topic, partition: 0, from: 'end', credit: creditBytes }),
    )
  else if (frame.id === 1) process.stdout.write('ready\n')
  else if (frame.op === 'deliver') {
    bytes += frame.bytes as number
    unreturned += frame.bytes as number
    if (unreturned < creditBytes / 4) return
    socket.send(packFrame({ op: 'credit', sub: frame.sub, bytes: unreturned }))
    unreturned = 0
  }
}

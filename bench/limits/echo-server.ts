// A WebSocket server that answers every message with five bytes and does nothing else. Prints its URL and runs until it is killed.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { socketOptions } from '../speed/options.ts'

const reply = Buffer.from([0x81, 0xa2, 0x69, 0x64, 0x01])
const http = createServer()
const server = new WebSocketServer({ server: http, ...socketOptions })
server.on('connection', socket => {
  socket.on('message', () => socket.send(reply))
})
http.listen(0, '127.0.0.1', () => {
  process.stdout.write(`ws://127.0.0.1:${(http.address() as AddressInfo).port}\n`)
})

// The bare loop: what this machine can do at all. Frame → append with group commit → fdatasync → reply; no broker, no decoding.
//
// One file, one writer: what arrives while a sync runs joins the next writev. With a follower, every frame is sent on to it after
// its sync. Prints `ready URL` and runs until it is killed. Usage: node loop-server.js DIRECTORY

import { fdatasync, openSync, writev } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type WebSocket, WebSocketServer } from 'ws'
import { socketOptions } from './options.ts'

const directory = process.argv[2]
if (directory === undefined) throw new Error('usage: loop-server DIRECTORY')

interface Pending {
  readonly socket: WebSocket
  readonly frame: Buffer
}

const fd = openSync(`${directory}/loop.log`, 'w')
const reply = Buffer.from([0x81, 0xa2, 0x69, 0x64, 0x01])
const followers = new Set<WebSocket>()
let queue: Pending[] = []
let position = 0
let writing = false

const http = createServer()
const server = new WebSocketServer({ server: http, ...socketOptions })
server.on('connection', (socket, request) => {
  if (request.url === '/follow') {
    followers.add(socket)
    socket.on('close', () => followers.delete(socket))
    return
  }
  socket.on('message', (frame: Buffer) => {
    queue.push({ socket, frame })
    if (!writing) setImmediate(write)
    writing = true
  })
})
http.listen(0, '127.0.0.1', () => {
  process.stdout.write(`ready ws://127.0.0.1:${(http.address() as AddressInfo).port}\n`)
})

function write(): void {
  const group = queue
  queue = []
  if (group.length === 0) {
    writing = false
    return
  }
  const buffers = group.map(p => p.frame)
  const bytes = buffers.reduce((sum, b) => sum + b.length, 0)
  writev(fd, buffers, position, (error, written) => {
    if (error !== null || written !== bytes)
      throw error ?? new Error(`short write: ${written} of ${bytes}`)
    position += bytes
    fdatasync(fd, syncError => {
      if (syncError !== null) throw syncError
      for (const { socket, frame } of group) {
        socket.send(reply)
        for (const follower of followers) follower.send(frame)
      }
      write()
    })
  })
}

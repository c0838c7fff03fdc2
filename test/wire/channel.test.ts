import { afterEach, describe, expect, it } from 'vitest'
import {
  type Frame,
  LogloomError,
  openSocket,
  packFrame,
  RequestChannel,
  unpackFrame,
} from '../../wire/index.ts'
import type { ServerSocket } from '../../wire/server.ts'
import { codeOfError } from './bytes.ts'
import { deferred, type Loopback, openLoopback } from './loopback.ts'

let loopback: Loopback | undefined
afterEach(async () => {
  await loopback?.close()
  loopback = undefined
})

/** A channel whose other side answers with `serve`. */
async function connect(
  serve: (frame: Frame, socket: ServerSocket) => void,
  onPush?: (frame: Frame) => void,
): Promise<RequestChannel> {
  loopback = await openLoopback({
    onSocket: socket => {
      socket.onMessage = bytes => serve(unpackFrame(bytes), socket)
    },
  })
  return new RequestChannel(await openSocket(loopback.url), onPush === undefined ? {} : { onPush })
}

function reply(socket: ServerSocket, frame: Frame): void {
  socket.send(packFrame(frame))
}

function failure(request: Promise<unknown>): Promise<unknown> {
  return request.then(
    () => {
      throw new Error('the request succeeded')
    },
    (error: unknown) => error,
  )
}

describe('a request', () => {
  it('gets its own reply, in whatever order replies come', async () => {
    const waiting: Frame[] = []
    const channel = await connect((frame, socket) => {
      waiting.push(frame)
      if (waiting.length < 50) return
      // Odd ones first, then the rest backwards.
      const order = [
        ...waiting.filter((_, i) => i % 2 === 1),
        ...waiting.filter((_, i) => i % 2 === 0).reverse(),
      ]
      for (const { id, n } of order) reply(socket, { id, n })
    })
    const replies = Array.from({ length: 50 }, (_, n) => channel.request('echo', { n }))
    expect(channel.inFlight).toBe(50)
    expect((await Promise.all(replies)).map(({ n }) => n)).toEqual(
      Array.from({ length: 50 }, (_, n) => n),
    )
    expect(channel.inFlight).toBe(0)
  })

  it('carries op, fields and an id of its own, which fields cannot replace', async () => {
    const seen: Frame[] = []
    const channel = await connect((frame, socket) => {
      seen.push(frame)
      reply(socket, { id: frame.id })
    })
    await Promise.all([channel.request('a', { x: 1, id: 99, op: 'b' }), channel.request('c')])
    expect(seen.map(({ op, x }) => [op, x])).toEqual([
      ['a', 1],
      ['c', undefined],
    ])
    expect(new Set(seen.map(({ id }) => id)).size).toBe(2)
  })

  it('rejects with the error of the broker, details included', async () => {
    const error = new LogloomError('OFFSET_TRIMMED', 'gone', { start: 5, end: 9 })
    const channel = await connect(({ id }, socket) => reply(socket, { id, error: error.toWire() }))
    const actual = await failure(channel.request('fetch'))
    expect(actual).toBeInstanceOf(LogloomError)
    expect(actual).toMatchObject({
      code: 'OFFSET_TRIMMED',
      message: 'gone',
      retriable: false,
      hint: error.hint,
      details: { start: 5, end: 9 },
    })
  })

  it('keeps a code that only newer brokers know', async () => {
    const channel = await connect(({ id }, socket) =>
      reply(socket, {
        id,
        error: { code: 'FROM_THE_FUTURE', message: 'm', retriable: true, hint: 'h' },
      }),
    )
    expect(await failure(channel.request('x'))).toMatchObject({
      code: 'FROM_THE_FUTURE',
      retriable: true,
      hint: 'h',
    })
  })

  it.each([null, 5, {}, { code: 1 }])('rejects when the error reply is %j', async error => {
    const channel = await connect(({ id }, socket) => reply(socket, { id, error }))
    expect(codeOfError(await failure(channel.request('x')))).toBe('INTERNAL')
  })

  it('with fields that no frame carries is refused and not in flight', async () => {
    const channel = await connect(() => {})
    expect(codeOfError(await failure(channel.request('x', { at: new Date() })))).toBe(
      'INVALID_REQUEST',
    )
    expect(channel.inFlight).toBe(0)
  })

  it('takes replies with more elements than requests may have', async () => {
    const channel = await connect(({ id }, socket) =>
      reply(socket, { id, items: Array.from({ length: 50_000 }, () => 1) }),
    )
    expect((await channel.request('list')).items).toHaveLength(50_000)
  })
})

describe('deadlines', () => {
  it('end a request with TIMEOUT, and its late reply is nobody’s', async () => {
    const late = deferred<() => void>()
    const channel = await connect(({ id, op }, socket) => {
      if (op === 'silent') late.resolve(() => reply(socket, { id, late: true }))
      else reply(socket, { id })
    })
    const patient = channel.request('silent-too', {}, { timeoutMs: 60_000 })
    expect(codeOfError(await failure(channel.request('silent', {}, { timeoutMs: 20 })))).toBe(
      'TIMEOUT',
    )
    ;(await late.promise)()
    await patient
    expect(await channel.request('next')).not.toHaveProperty('late')
    expect(channel.inFlight).toBe(0)
  })

  it('are apart for each request', async () => {
    const channel = await connect(() => {})
    const order: string[] = []
    const note = (name: string, timeoutMs: number): Promise<void> =>
      failure(channel.request('x', {}, { timeoutMs })).then(() => void order.push(name))
    await Promise.all([note('long', 700), note('short', 10)])
    expect(order).toEqual(['short', 'long'])
  })
})

describe('signals', () => {
  it('end a request with their reason, before and while it is in flight', async () => {
    const received = deferred<void>()
    const channel = await connect(() => received.resolve())
    const control = new AbortController()
    const request = channel.request('x', {}, { signal: control.signal })
    await received.promise
    const reason = new Error('enough')
    control.abort(reason)
    expect(await failure(request)).toBe(reason)
    expect(await failure(channel.request('y', {}, { signal: control.signal }))).toBe(reason)
    expect(channel.inFlight).toBe(0)
  })

  it('have no effect on a request that was answered', async () => {
    const channel = await connect(({ id }, socket) => reply(socket, { id, ok: 1 }))
    const control = new AbortController()
    expect(await channel.request('x', {}, { signal: control.signal })).toMatchObject({ ok: 1 })
    control.abort()
    expect(await channel.request('y')).toMatchObject({ ok: 1 })
  })
})

describe('the end of a connection', () => {
  it('rejects everything in flight and everything later', async () => {
    let count = 0
    const channel = await connect((_, socket) => {
      if (++count === 3) socket.close(1001, 'going away')
    })
    const requests = [1, 2, 3].map(() => failure(channel.request('x', {}, { timeoutMs: 60_000 })))
    for (const error of await Promise.all(requests))
      expect(error).toMatchObject({
        code: 'CONNECTION_CLOSED',
        retriable: false,
        details: { closeCode: 1001, reason: 'going away' },
      })
    expect(await channel.closed).toEqual({ code: 1001, reason: 'going away' })
    expect(channel.inFlight).toBe(0)
    expect(codeOfError(await failure(channel.request('x')))).toBe('CONNECTION_CLOSED')
    channel.send({ op: 'credit' })
  })

  it('is noticed when the peer vanishes without a word', async () => {
    const channel = await connect((_, socket) => socket.terminate())
    expect(codeOfError(await failure(channel.request('x')))).toBe('CONNECTION_CLOSED')
    expect((await channel.closed).code).toBe(1006)
  })

  it('names as its cause the error that answered no request', async () => {
    const channel = await connect((_, socket) => {
      reply(socket, { id: null, error: new LogloomError('BAD_FRAME', 'what was that').toWire() })
      socket.close(1008, 'BAD_FRAME: what was that')
    })
    expect(await failure(channel.request('x'))).toMatchObject({
      code: 'CONNECTION_CLOSED',
      cause: { code: 'BAD_FRAME' },
    })
  })

  it('comes with close()', async () => {
    const channel = await connect(() => {})
    const request = failure(channel.request('x'))
    channel.close()
    expect(codeOfError(await request)).toBe('CONNECTION_CLOSED')
    expect((await channel.closed).code).toBe(1000)
  })

  it('comes when the broker sends what is no frame, with a reason that fits whatever the message', async () => {
    const channel = await connect((_, socket) =>
      socket.send(new Uint8Array([0x81, 0xa1, 0x61, 0xd4, 0x78, 0x00])),
    )
    expect(codeOfError(await failure(channel.request('x')))).toBe('CONNECTION_CLOSED')
  })
})

describe('pushes', () => {
  it('go to their handler, in order, between replies', async () => {
    const seen: unknown[] = []
    const channel = await connect(
      ({ id }, socket) => {
        reply(socket, { op: 'deliver', n: 1 })
        reply(socket, { id, n: 2 })
        reply(socket, { op: 'deliver', n: 3 })
        reply(socket, { id: 12_345, n: 4 })
        reply(socket, { op: 'end', n: 5 })
        socket.close(1001)
      },
      frame => seen.push(frame.n),
    )
    expect(await channel.request('x')).toMatchObject({ n: 2 })
    await channel.closed
    expect(seen).toEqual([1, 3, 5])
  })
})

describe('one-way frames', () => {
  it('arrive as they are', async () => {
    const received = deferred<Frame>()
    const channel = await connect(frame => received.resolve(frame))
    channel.send({ op: 'credit', sub: 1, bytes: 2 ** 40 })
    expect(await received.promise).toEqual({ op: 'credit', sub: 1, bytes: 2 ** 40 })
  })
})

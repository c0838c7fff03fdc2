// What every `Net` does (loglets/net.ts), over any pair of them: the production link and the simulated one alike.

import { describe, expect, it } from 'vitest'
import { type Message, type Net, NetError, RemoteError } from '../../loglets/net.ts'

/** Two nodes that reach each other, without faults. */
export interface NetPair {
  readonly a: Net
  readonly b: Net
  close(): Promise<void>
}

const timeoutMs = 5000

/** Registers the suite. `wait` lets the pair's world run until the promise settles; real nets need nothing. */
export function netContract(
  name: string,
  open: () => Promise<NetPair>,
  wait: <T>(promise: Promise<T>) => Promise<T> = promise => promise,
): void {
  const test = (sentence: string, body: (pair: NetPair) => Promise<void>): void => {
    it(sentence, async () => {
      const pair = await open()
      try {
        await wait(body(pair))
      } finally {
        await pair.close()
      }
    })
  }

  describe(`${name}: the contract of a net`, () => {
    test('carries requests and replies both ways and says who asked', async ({ a, b }) => {
      for (const net of [a, b])
        net.handle('test.who', async (from, { n }) => ({ from, n, at: net.self }))
      expect(await a.call(b.self, 'test.who', { n: 1 }, { timeoutMs })).toEqual({
        from: a.self,
        n: 1,
        at: b.self,
      })
      expect(await b.call(a.self, 'test.who', { n: 2 }, { timeoutMs })).toEqual({
        from: b.self,
        n: 2,
        at: a.self,
      })
    })

    test('carries every kind of value, and bytes as bytes', async ({ a, b }) => {
      b.handle('test.echo', async (_from, request) => request)
      const message: Message = {
        nothing: null,
        yes: true,
        text: 'ž€😀',
        numbers: [0, -1, 2 ** 31, 2 ** 32, 2 ** 53 - 1, -(2 ** 53 - 1), 0.5],
        bytes: new Uint8Array([0, 1, 255]),
        empty: new Uint8Array(0),
        entries: [{ parts: [new Uint8Array([1]), new Uint8Array([2, 3])] }],
      }
      const reply = await a.call(b.self, 'test.echo', message, { timeoutMs })
      const { bytes, empty, entries, ...plain } = reply
      const { bytes: _b, empty: _e, entries: _n, ...sent } = message
      expect(plain).toEqual(sent)
      expect(bytes).toBeInstanceOf(Uint8Array)
      expect([...(bytes as Uint8Array)]).toEqual([0, 1, 255])
      expect((empty as Uint8Array).length).toBe(0)
      const [{ parts } = { parts: [] }] = entries as { parts: Uint8Array[] }[]
      expect(parts.map(part => [...part])).toEqual([[1], [2, 3]])
    })

    test('leaves out keys whose value is undefined', async ({ a, b }) => {
      b.handle('test.keys', async (_from, request) => ({
        keys: Object.keys(request),
        gone: undefined,
      }))
      const reply = await a.call(b.self, 'test.keys', { x: 1, y: undefined }, { timeoutMs })
      expect(Object.keys(reply)).toEqual(['keys'])
      expect(reply.keys).toEqual(['x'])
    })

    test('gives each reply to its own request, whatever the order', async ({ a, b }) => {
      const held: (() => void)[] = []
      b.handle('test.turn', async (_from, { n }) => {
        if (n !== 19) await new Promise<void>(resolve => held.push(resolve))
        else for (const release of held.reverse()) release()
        return { n }
      })
      const calls = Array.from({ length: 20 }, (_, n) =>
        a.call(b.self, 'test.turn', { n }, { timeoutMs }),
      )
      expect(await Promise.all(calls)).toEqual(Array.from({ length: 20 }, (_, n) => ({ n })))
    })

    test('hands on what a handler rejects with: code and message', async ({ a, b }) => {
      b.handle('test.coded', async () => {
        throw Object.assign(new Error('sealed at 7'), { code: 'LOGLET_SEALED' })
      })
      b.handle('test.plain', async () => {
        throw new Error('oops')
      })
      b.handle('test.sync', () => {
        throw new Error('at once')
      })
      for (const [verb, code, message] of [
        ['test.coded', 'LOGLET_SEALED', 'sealed at 7'],
        ['test.plain', 'INTERNAL', 'oops'],
        ['test.sync', 'INTERNAL', 'at once'],
      ] as const) {
        const error = await failureOf(a.call(b.self, verb, {}, { timeoutMs }))
        expect(error).toBeInstanceOf(RemoteError)
        expect(error).toMatchObject({ code, message, from: b.self })
      }
    })

    test('answers a verb that nobody serves with an error of the node', async ({ a, b }) => {
      const error = await failureOf(a.call(b.self, 'test.none', {}, { timeoutMs }))
      expect(error).toBeInstanceOf(RemoteError)
      expect((error as Error).message).toContain('test.none')
    })

    test('serves a verb by one handler, until it is stopped', async ({ a, b }) => {
      const stop = b.handle('test.once', async () => ({ n: 1 }))
      expect(() => b.handle('test.once', async () => ({ n: 2 }))).toThrow('test.once')
      expect(await a.call(b.self, 'test.once', {}, { timeoutMs })).toEqual({ n: 1 })
      stop()
      b.handle('test.once', async () => ({ n: 3 }))
      stop()
      expect(await a.call(b.self, 'test.once', {}, { timeoutMs })).toEqual({ n: 3 })
    })

    test('gives up a call at its time', async ({ a, b }) => {
      b.handle('test.hang', () => new Promise(() => {}))
      const error = await failureOf(a.call(b.self, 'test.hang', {}, { timeoutMs: 60 }))
      expect(error).toBeInstanceOf(NetError)
      expect(error).toMatchObject({ code: 'TIMEOUT' })
    })

    test('gives up a call when its signal is aborted, with its reason', async ({ a, b }) => {
      const controller = new AbortController()
      const reason = new Error('not needed any more')
      b.handle('test.hang', () => {
        controller.abort(reason)
        return new Promise(() => {})
      })
      const options = { timeoutMs, signal: controller.signal }
      expect(await failureOf(a.call(b.self, 'test.hang', {}, options))).toBe(reason)
      expect(await failureOf(a.call(b.self, 'test.hang', {}, options))).toBe(reason)
    })

    test('says that a node which it does not know is unreachable', async ({ a }) => {
      const error = await failureOf(a.call('nobody', 'test.x', {}, { timeoutMs }))
      expect(error).toBeInstanceOf(NetError)
      expect(error).toMatchObject({ code: 'UNREACHABLE' })
    })

    test('calls its own handlers without a copy, but never at once', async ({ a }) => {
      const bytes = new Uint8Array([1, 2, 3])
      let isServed = false
      a.handle('test.self', async (from, request) => {
        isServed = true
        return { from, same: request.bytes === bytes }
      })
      const call = a.call(a.self, 'test.self', { bytes }, { timeoutMs })
      expect(isServed).toBe(false)
      expect(await call).toEqual({ from: a.self, same: true })
      a.handle('test.fail', async () => {
        throw Object.assign(new Error('no'), { code: 'NOT_NOW' })
      })
      const error = await failureOf(a.call(a.self, 'test.fail', {}, { timeoutMs }))
      expect(error).toBeInstanceOf(RemoteError)
      expect(error).toMatchObject({ code: 'NOT_NOW', from: a.self })
      a.handle('test.hang', () => new Promise(() => {}))
      expect(await failureOf(a.call(a.self, 'test.hang', {}, { timeoutMs: 60 }))).toMatchObject({
        code: 'TIMEOUT',
      })
    })
  })
}

/** What a promise rejects with; a failed assertion when it resolves. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('the call was answered, but should not have been')
}

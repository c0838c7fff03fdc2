// What the rules share: the fixture's shape, entries that can be told apart, and short ways to say things.

import assert from 'node:assert/strict'
import {
  type Entry,
  type Loglet,
  LogletError,
  type LogItem,
  type Position,
  position,
} from '../contract.ts'

/** Of the test runner. */
export interface ConformanceApi {
  readonly describe: (name: string, fn: () => void) => void
  readonly it: (name: string, fn: () => Promise<void>) => void
  /** Not used: the suite asserts by itself. */
  readonly expect?: unknown
}

/** Makes loglets for one test. */
export interface LogletWorkshop {
  /** A new, empty, open loglet. */
  readonly create: (id?: string) => Promise<Loglet>
  /** Opens the store of a closed loglet again, as after a restart of the process. */
  readonly reopen?: (loglet: Loglet) => Promise<Loglet>
  /** Opens an id that was never made: must reject with LOGLET_LOST. */
  readonly openAbsent?: () => Promise<Loglet>
  /** True when the content survives `reopen`. */
  readonly durable: boolean
  readonly cleanup: () => Promise<void>
}

export type LogletFixture = () => Promise<LogletWorkshop>
export type Rules = (fixture: LogletFixture, api: ConformanceApi) => void

/** One test over one fresh loglet. */
export function rule(
  { it }: ConformanceApi,
  fixture: LogletFixture,
  name: string,
  body: (loglet: Loglet, workshop: LogletWorkshop) => Promise<void>,
): void {
  it(name, async () => {
    const workshop = await fixture()
    try {
      const loglet = await workshop.create()
      try {
        await body(loglet, workshop)
      } finally {
        await loglet.close()
      }
    } finally {
      await workshop.cleanup()
    }
  })
}

/** Bytes that only entry `n` has; `length` of them, at least 8. */
export function bytesOf(n: number, length = 24): Uint8Array {
  const bytes = new Uint8Array(Math.max(8, length))
  for (let i = 0; i < bytes.length; i++) bytes[i] = (n * 31 + i * 7) & 0xff
  new DataView(bytes.buffer).setUint32(0, n)
  new DataView(bytes.buffer).setUint32(4, bytes.length)
  return bytes
}

export const entryOf = (n: number, length?: number): Entry => [bytesOf(n, length)]

/** Appends entries `from`, `from + 1`, … all at once. */
export function appendMany(loglet: Loglet, count: number, from = 0): Promise<Position[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => loglet.append(entryOf(from + i))))
}

/** Everything in `[from, to)`, however many reads it takes; asserts that items are contiguous. */
export async function readAll(
  loglet: Loglet,
  from: number,
  to: number,
  maxBytes = 4096,
): Promise<LogItem[]> {
  const all: LogItem[] = []
  for (let at = from; at < to; ) {
    const items = await loglet.readNext(position(at), position(to), maxBytes)
    assert.ok(items.length > 0, `no item at ${at}, below ${to}`)
    for (const item of items) {
      const start = item.kind === 'entry' ? item.position : item.from
      assert.equal(start, at, 'items are contiguous')
      const end = item.kind === 'entry' ? item.position + 1 : item.to
      assert.ok(end > start && end <= to, `an item reaches from ${start} to ${end}`)
      at = end
    }
    all.push(...items)
  }
  return all
}

/** Asserts that `[from, to)` holds exactly the entries with these numbers. */
export async function expectEntries(
  loglet: Loglet,
  from: number,
  numbers: readonly number[],
): Promise<void> {
  const items = await readAll(loglet, from, from + numbers.length)
  assert.equal(items.length, numbers.length)
  items.forEach((item, i) => {
    assert.equal(item.kind, 'entry')
    if (item.kind === 'entry') assert.deepEqual(plain(item.bytes), bytesOf(numbers[i] as number))
  })
}

/** A Buffer equals a Uint8Array of the same bytes. */
export function plain(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes)
}

/** The LogletError that a call rejects with. */
export async function failureOf(call: Promise<unknown>): Promise<LogletError> {
  const error: unknown = await call.then(
    () => new Error('the call resolved'),
    reason => reason as unknown,
  )
  assert.ok(error instanceof LogletError, `not a LogletError: ${String(error)}`)
  return error
}

/** True when the promise is still pending after the loglet answered some other questions. */
export async function staysPending(loglet: Loglet, promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  const note = (): void => {
    settled = true
  }
  promise.then(note, note)
  for (let i = 0; i < 5; i++) await loglet.checkTail()
  return !settled
}

export const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, i) => from + i)

// What a client of any broker does in the comparison, and the process that does it when it is told to.
//
// Usage: node peer-client.js KIND URL; then one command per line on standard input, each answered with a line.

import { createInterface } from 'node:readline'
import { quantileOf } from '../stats.ts'

export interface PeerClient {
  /** Makes an empty stream: a topic of one partition, a key, whatever the broker calls it. */
  create(stream: string): Promise<void>
  drop(stream: string): Promise<void>
  /** Sends one record and resolves when it was acked. */
  send(stream: string, value: Buffer): Promise<void>
  /**
   * Sends records one after the other, as its documentation says that many records are sent, with at most `inFlightBytes` of values not acked, until `isOver`.
   * @returns how many were acked, once all were
   */
  produce(
    stream: string,
    value: Buffer,
    inFlightBytes: number,
    isOver: () => boolean,
  ): Promise<number>
  /** Reads the first `records` of a stream, one after the other, as an application would. */
  consume(stream: string, records: number): Promise<void>
  close(): Promise<void>
}

export type PeerKind = 'logloom' | 'redis' | 'nats' | 'kafka'

export type Command =
  | {
      readonly do: 'produce'
      readonly stream: string
      readonly bytes: number
      readonly inFlightBytes: number
      readonly seconds: number
    }
  | { readonly do: 'consume'; readonly stream: string; readonly records: number }
  | {
      readonly do: 'latency'
      readonly stream: string
      readonly bytes: number
      /** Records per second. */
      readonly rate: number
      readonly seconds: number
    }
  | { readonly do: 'create'; readonly stream: string }
  | { readonly do: 'drop'; readonly stream: string }

export interface Answer {
  readonly records?: number
  readonly seconds?: number
  readonly p50?: number
  readonly p99?: number
}

/** Sends with `send`, many at once: for clients that pipeline by themselves what is sent in one turn. */
export async function pipelined(
  send: () => Promise<unknown>,
  inFlightMax: number,
  isOver: () => boolean,
): Promise<number> {
  let sent = 0
  let inFlight = 0
  const failures: Error[] = []
  let wake: (() => void) | undefined
  const settled = (): void => {
    inFlight--
    // Half of them at a time, so that there is something to put into one write.
    if (inFlight <= inFlightMax / 2) wake?.()
  }
  const room = (most: number): Promise<void> =>
    new Promise(resolve => {
      if (inFlight <= most) resolve()
      else
        wake = () => {
          if (inFlight <= most) resolve()
        }
    })
  while (!isOver() && failures.length === 0) {
    while (inFlight < inFlightMax) {
      inFlight++
      sent++
      send().then(settled, (error: Error) => {
        failures.push(error)
        settled()
      })
    }
    await room(inFlightMax / 2)
  }
  await room(0)
  if (failures[0] !== undefined) throw failures[0]
  return sent
}

const words = 'the quick brown fox jumps over the lazy dog 0123456789 '

export function valueOf(bytes: number): Buffer {
  return Buffer.from(words.repeat(Math.ceil(bytes / words.length)).slice(0, bytes))
}

async function carryOut(client: PeerClient, command: Command): Promise<Answer> {
  const { stream } = command
  const start = performance.now()
  const since = (): number => (performance.now() - start) / 1000
  switch (command.do) {
    case 'create':
      await client.create(stream)
      return {}
    case 'drop':
      await client.drop(stream)
      return {}
    case 'latency':
      return atRate(client, command)
    case 'consume':
      await client.consume(stream, command.records)
      return { records: command.records, seconds: since() }
    case 'produce':
    default: {
      const { bytes, inFlightBytes, seconds } = command
      const isOver = (): boolean => since() >= seconds
      const records = await client.produce(stream, valueOf(bytes), inFlightBytes, isOver)
      return { records, seconds: since() }
    }
  }
}

/** One record after the other, each when it is due, whatever became of those before. */
async function atRate(
  client: PeerClient,
  { stream, bytes, rate, seconds }: Command & { do: 'latency' },
): Promise<Answer> {
  const value = valueOf(bytes)
  const total = Math.round(rate * seconds)
  const latencies: number[] = []
  const pending: Promise<void>[] = []
  const begun = performance.now()
  while (pending.length < total) {
    const dueNow = Math.min(total, Math.floor(((performance.now() - begun) / 1000) * rate) + 1)
    while (pending.length < dueNow) {
      const due = begun + (pending.length / rate) * 1000
      pending.push(
        client.send(stream, value).then(() => {
          latencies.push(performance.now() - due)
        }),
      )
    }
    await new Promise(done => setTimeout(done, 1))
  }
  await Promise.all(pending)
  return { p50: quantileOf(latencies, 0.5), p99: quantileOf(latencies, 0.99) }
}

/** Carries out commands until the input ends. */
export async function serveCommands(client: PeerClient): Promise<void> {
  process.stdout.write('ready\n')
  for await (const line of createInterface({ input: process.stdin })) {
    const answer = await carryOut(client, JSON.parse(line) as Command)
    process.stdout.write(`${JSON.stringify(answer)}\n`)
  }
  await client.close()
}

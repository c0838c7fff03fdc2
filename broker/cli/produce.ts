// Lines of stdin to acked records.
//
// Guarantees: ends without an error only when every line was acked; stdin is read no faster than the producer's window allows; the
// first refusal stops reading, and what was read before is still brought to its outcome. No promise and no copy per line of usual
// length. Absence of the broker is waited for, up to the delivery timeout.

import { connect, LogloomError, type Client, type Producer } from '../../client/index.ts'
import { checkTopicName } from '../../wire/index.ts'
import { causeText } from './broker-client.ts'
import { identity } from './identity.ts'
import { onStopSignal } from './stop-signal.ts'
import { LineSplitter } from './lines.ts'
import { note } from './output.ts'
import type { ProduceOptions } from './produce-command.ts'

const batchSize = 128 * 1024
const inflightBytesMax = 32 * 1024 * 1024
/** Longer lines get a ticket of their own: only they can be refused for their size. */
const longLineBytes = 16 * 1024
const lineBytesMax = 64 * 1024 * 1024

interface Tally {
  records: number
  bytes: number
  rejected: number
  retries: number
  failure: LogloomError | undefined
}

/** Runs `logloom produce`. @throws the first refusal, TIMEOUT after the delivery timeout */
export async function produce(topic: string, o: ProduceOptions): Promise<void> {
  checkTopicName(topic)
  const startedMs = performance.now()
  const { deliveryTimeoutMs } = o
  const client = await connect(o.url, {
    ...identity(),
    clientId: 'logloom-produce',
    lazy: true,
    deliveryTimeoutMs,
  })
  const tally: Tally = { records: 0, bytes: 0, rejected: 0, retries: 0, failure: undefined }
  const stop = onStopSignal(() => process.stdin.destroy())
  const watching = watch(client, tally, o)
  try {
    await sendAll(client, topic, o, tally)
  } finally {
    stop()
    await client.close({ timeoutMs: 0 })
    await watching
  }
  const seconds = (performance.now() - startedMs) / 1000
  note(summaryOf(tally, seconds, o))
  if (tally.failure) throw incomplete(tally, tally.failure)
}

async function sendAll(
  client: Client,
  topic: string,
  o: ProduceOptions,
  tally: Tally,
): Promise<void> {
  const refuse = (error: LogloomError, count: number): void => {
    tally.rejected += count
    tally.failure ??= error
    process.stdin.destroy()
  }
  const seen = new WeakSet<Error>()
  const producer = client.producer({
    batchSize,
    maxInflightBytes: inflightBytesMax,
    deliveryTimeoutMs: o.deliveryTimeoutMs,
    // The delivery timeout is the only deadline; it ends every wait for room.
    maxBlockMs: o.deliveryTimeoutMs * 2,
    onRejected: (error, batch) => {
      seen.add(error)
      refuse(error, batch.count)
    },
  })
  const split = splitterOf(o)
  const options = o.partition === undefined ? {} : { partition: o.partition }
  const take = (line: Buffer): void => {
    tally.records++
    tally.bytes += line.length
    const ticket = producer.enqueue(topic, split(line, tally.records), options)
    if (line.length < longLineBytes) return
    ticket.acked.catch((error: LogloomError) => {
      if (!seen.has(error)) refuse(error, 1)
    })
  }
  try {
    await readLines(producer, take, tally)
  } finally {
    await producer.flush()
  }
}

/** Reads stdin to its end, or to the first refusal; waits for room before each line. */
async function readLines(
  producer: Producer,
  take: (line: Buffer) => void,
  tally: Tally,
): Promise<void> {
  const lines = new LineSplitter(lineBytesMax)
  const { stdin } = process
  const takeAll = async (some: Iterable<Buffer>): Promise<void> => {
    for (const line of some) {
      if (producer.inflightBytes >= inflightBytesMax) await producer.ready()
      if (tally.failure) return
      take(line)
    }
  }
  try {
    // Nothing is read while the loop body waits: stdin is paused.
    for await (const chunk of stdin as AsyncIterable<Buffer>) {
      await takeAll(lines.split(chunk))
      if (tally.failure) return
    }
  } catch (error) {
    // Destroyed by a refusal or a signal; a real failure of stdin is not swallowed.
    if (!stdin.destroyed || isReadError(error)) throw error
  }
  // A line that a signal cut off is not a line.
  if (stdin.readableEnded) await takeAll(lines.end())
}

function isReadError(error: unknown): boolean {
  const { code } = error as { code?: string }
  return code !== 'ERR_STREAM_PREMATURE_CLOSE' && code !== 'ABORT_ERR'
}

type Record = { readonly key?: Uint8Array | string | null; readonly value: Uint8Array }

/** How a line becomes key and value. */
function splitterOf(o: ProduceOptions): (line: Buffer, number: number) => Record {
  const { keyDelimiter, keyField } = o
  if (keyDelimiter !== undefined) {
    const delimiter = Buffer.from(keyDelimiter)
    return line => {
      const at = line.indexOf(delimiter)
      if (at < 0) return { value: line }
      return { key: line.subarray(0, at), value: line.subarray(at + delimiter.length) }
    }
  }
  if (keyField !== undefined) {
    return (line, number) => ({ key: fieldOf(line, keyField, number), value: line })
  }
  return line => ({ value: line })
}

/** The field as text; null when it is missing or null. @throws INVALID_REQUEST when the line is no JSON object */
function fieldOf(line: Buffer, name: string, number: number): string | null {
  let value: unknown
  try {
    value = JSON.parse(line.toString('utf8'))
  } catch (cause) {
    throw notAnObject(number, cause)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw notAnObject(number, undefined)
  // Its own: every object inherits a `constructor`.
  const field = Object.hasOwn(value, name) ? (value as { [name: string]: unknown })[name] : null
  if (field === undefined || field === null) return null
  return typeof field === 'string' ? field : JSON.stringify(field)
}

function notAnObject(number: number, cause: unknown): LogloomError {
  const hint = 'with --key-field every line is one JSON object'
  return new LogloomError(
    'INVALID_REQUEST',
    `line ${number} is not a JSON object`,
    {},
    { cause, hint },
  )
}

/** Counts dials after a loss, and says once per outage what is being waited for. */
async function watch(client: Client, tally: Tally, o: ProduceOptions): Promise<void> {
  let isQuiet = true
  for await (const status of client.status()) {
    if (status.type === 'open') isQuiet = true
    if (status.type !== 'recovering') continue
    tally.retries++
    if (isQuiet && o.format === 'table') {
      isQuiet = false
      const why = `logloom: waiting for ${status.url} (${causeText(status.error)})\n`
      note(why)
    }
  }
}

function summaryOf(tally: Tally, seconds: number, o: ProduceOptions): string {
  const { records, bytes, rejected, retries } = tally
  const acked = records - rejected
  const rounded = Math.round(seconds * 1000) / 1000
  if (o.format === 'json') {
    return `${JSON.stringify({ records: acked, bytes, seconds: rounded, retries })}\n`
  }
  const count = rejected === 0 ? `${acked}` : `${acked} of ${records}`
  return `produced ${count} records, ${bytes} bytes in ${rounded} s, retries: ${retries}\n`
}

function incomplete(tally: Tally, first: LogloomError): LogloomError {
  const message = `${tally.rejected} of ${tally.records} lines read were not acked: ${causeText(first)}`
  const { retriable, hint, details } = first
  return LogloomError.fromWire({ ...details, code: first.code, message, retriable, hint })
}

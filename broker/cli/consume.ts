// Records of a topic to stdout.
//
// Guarantees: records of a partition in offset order, each once; memory stays bounded when stdout is slow, because the reader gives no
// credit while output waits; one write at a time, and nothing that was delivered waits for more to come. Gaps are reported on stderr.

import type { ReadGap, ReadOptions, ReadRetry } from '../../client/index.ts'
import { withBroker } from './broker-client.ts'
import { ByteSink } from './byte-sink.ts'
import type { ConsumeOptions } from './consume-command.ts'
import { UsageError } from './exit-codes.ts'
import { formatWarning } from './failure.ts'
import { note, writeBytes } from './output.ts'
import { compileFormat, type RecordWriter } from './record-format.ts'
import { writeRecordJson } from './record-json.ts'
import { onStopSignal } from './stop-signal.ts'

/** While a write is under way this much more output is made before waiting for it. */
const pendingBytesMax = 256 * 1024
const creditBytes = 4 * 1024 * 1024
/** A failover is over by then. */
const patienceMs = 3000
const sayEveryMs = 10_000

/** Runs `logloom consume`. @throws UNKNOWN_TOPIC, OFFSET_OUT_OF_RANGE, BrokenPipe, … */
export async function consume(topic: string, o: ConsumeOptions): Promise<void> {
  const write = o.format === 'json' ? writeRecordJson : compileFormat(o.output ?? String.raw`%v\n`)
  const { count = Number.POSITIVE_INFINITY } = o
  if (count === 0) return
  if (o.queue !== undefined) {
    if (o.asOf !== undefined)
      throw new UsageError('--as-of reads the past: a queue goes on from where it was, without it')
    const { consumeQueue } = await import('./consume-queue.ts')
    await consumeQueue(topic, o.queue, o, write)
    return
  }
  if (o.group !== undefined) {
    if (o.asOf !== undefined)
      throw new UsageError('--as-of reads the past: a group goes on from where it was, without it')
    const { consumeAsMember } = await import('./consume-group.ts')
    await consumeAsMember(topic, o.group, o, write)
    return
  }
  await withBroker(o.url, async client => {
    const stop = new AbortController()
    const troubles = new Troubles(o)
    const release = onStopSignal(() => stop.abort())
    const options: ReadOptions & { as: 'bytes' } = {
      as: 'bytes',
      from: o.offset,
      maxBytes: creditBytes,
      signal: stop.signal,
      onGap: gap => reportGap(gap, o),
      onRetry: retry => troubles.hear(retry),
      ...(o.exit ? { until: 'end' } : {}),
      ...(o.partition === undefined ? {} : { partition: o.partition }),
      ...(o.asOf === undefined ? {} : { asOf: o.asOf }),
    }
    try {
      await print(client.read(topic, options).batches(), write, count, () => troubles.end())
    } catch (error) {
      if (!stop.signal.aborted) throw error
    } finally {
      release()
    }
  })
}

type Batches = AsyncIterable<{ readonly records: readonly Parameters<RecordWriter>[0][] }>

async function print(
  batches: Batches,
  write: RecordWriter,
  count: number,
  onBatch: () => void,
): Promise<void> {
  let left = count
  let filling = new ByteSink()
  let writing = new ByteSink()
  let written: Promise<void> = Promise.resolve()
  const flush = async (): Promise<void> => {
    await written
    if (filling.length === 0) return
    const sink = filling
    filling = writing
    writing = sink
    filling.clear()
    written = writeBytes(1, sink.view())
    // Its failure is seen by the next flush; until then it is nobody's.
    written.catch(() => {})
  }
  try {
    for await (const { records } of batches) {
      onBatch()
      for (const record of records) {
        write(record, filling)
        if (--left === 0) return
        if (filling.length >= pendingBytesMax) await flush()
      }
      await flush()
    }
  } finally {
    await flush()
    await written
  }
}

/** Says what cannot be read now, once that has lasted, and again now and then; the reader goes on trying. */
class Troubles {
  private readonly options: ConsumeOptions
  private begunMs: number | undefined
  private saidMs = Number.NEGATIVE_INFINITY

  constructor(options: ConsumeOptions) {
    this.options = options
  }

  hear({ topic, partition, error }: ReadRetry): void {
    const now = performance.now()
    this.begunMs ??= now
    if (now - this.begunMs < patienceMs || now - this.saidMs < sayEveryMs) return
    this.saidMs = now
    const text = `${topic}-${partition} cannot be read now, trying again: ${error.code}: ${error.message}`
    note(formatWarning(text, this.options.format))
  }

  end(): void {
    this.begunMs = undefined
  }
}

export function reportGap(gap: ReadGap, o: ConsumeOptions): void {
  const { topic, partition, type, offset, next } = gap
  const text = `${topic}-${partition}: offsets ${offset} to ${next - 1} are ${type}`
  note(formatWarning(text, o.format))
}

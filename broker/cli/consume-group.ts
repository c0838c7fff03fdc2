// `logloom consume -g`: records as a member of a consumer group.
//
// Guarantees: what was written to stdout is committed, nothing else; a record may be printed again by another member when this one is killed.

import type { Consumer, ConsumerOptions } from '../../client/index.ts'
import { withBroker } from './broker-client.ts'
import { ByteSink } from './byte-sink.ts'
import type { ConsumeOptions } from './consume-command.ts'
import { reportGap } from './consume.ts'
import { UsageError } from './exit-codes.ts'
import { writeBytes } from './output.ts'
import type { RecordWriter } from './record-format.ts'
import { onStopSignal } from './stop-signal.ts'

const commitEveryMs = 1000

/** @throws UNKNOWN_TOPIC, MEMBER_FENCED, BrokenPipe, … */
export async function consumeAsMember(
  topic: string,
  groupId: string,
  o: ConsumeOptions,
  write: RecordWriter,
): Promise<void> {
  const { offset, partition, count = Number.POSITIVE_INFINITY } = o
  if (partition !== undefined)
    throw new UsageError('-p cannot be used with -g: the group decides who reads which partition')
  if (offset !== 'beginning' && offset !== 'end')
    throw new UsageError(
      'with -g, -o says where a new group begins: beginning or end; see `logloom group reset`',
    )
  await withBroker(o.url, async client => {
    const ends = new Map<number, number>()
    if (o.exit === true)
      for (const { partition: p, offset: end } of await client.admin().listOffsets(topic, 'end'))
        ends.set(p, end)
    const options: ConsumerOptions & { as: 'bytes' } = {
      groupId,
      topics: topic,
      as: 'bytes',
      autoOffsetReset: offset === 'end' ? 'latest' : 'earliest',
      autoCommitIntervalMs: commitEveryMs,
      onGap: gap => reportGap(gap, o),
    }
    const consumer = client.consumer(options)
    const release = onStopSignal(() => void consumer.close())
    const sink = new ByteSink()
    try {
      if (o.exit === true) stopAtEnds(consumer, topic, ends)
      let left = count
      for await (const { records, partition: from } of consumer.batches()) {
        const printed = records.slice(0, left)
        for (const record of printed) write(record, sink)
        await writeBytes(1, sink.view())
        sink.clear()
        left -= printed.length
        if (left > 0) continue
        // The rest of the batch was not printed: what was is committed by hand.
        const last = (printed.at(-1)?.offset ?? 0) + 1
        await consumer.commit([{ topic, partition: from, offset: last }])
        break
      }
    } finally {
      release()
      await consumer.close()
    }
  })
}

/** Closes a consumer that has nothing to read once it knows where it stands. */
function stopAtEnds(
  consumer: Consumer<Uint8Array, Uint8Array>,
  topic: string,
  ends: ReadonlyMap<number, number>,
): void {
  void consumer.join().then(
    () => {
      const look = (): void => {
        if (isAtEnds(consumer, topic, ends)) void consumer.close()
        else setTimeout(look, 50).unref()
      }
      look()
    },
    () => {},
  )
}

function isAtEnds(
  consumer: Consumer<Uint8Array, Uint8Array>,
  topic: string,
  ends: ReadonlyMap<number, number>,
): boolean {
  return consumer.assignment.every(({ partition }) => {
    const position = consumer.position(topic, partition)
    return position !== undefined && position >= (ends.get(partition) ?? 0)
  })
}

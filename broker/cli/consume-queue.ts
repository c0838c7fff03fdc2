// `logloom consume -q`: records as a member of a share group.
//
// Guarantees: what was written to stdout is acknowledged, nothing else; a record may be printed again, here or by another member, when this one is killed.

import type { QueueRecord } from '../../client/index.ts'
import { withBroker } from './broker-client.ts'
import { ByteSink } from './byte-sink.ts'
import type { ConsumeOptions } from './consume-command.ts'
import { UsageError } from './exit-codes.ts'
import { writeBytes } from './output.ts'
import type { RecordWriter } from './record-format.ts'
import { onStopSignal } from './stop-signal.ts'

const idleLookMs = 50

/** @throws UNKNOWN_TOPIC, INCONSISTENT_GROUP_PROTOCOL, BrokenPipe, … */
export async function consumeQueue(
  topic: string,
  group: string,
  o: ConsumeOptions,
  write: RecordWriter,
): Promise<void> {
  const { offset, partition, count = Number.POSITIVE_INFINITY } = o
  if (partition !== undefined)
    throw new UsageError('-p cannot be used with -q: records of all partitions are shared')
  if (o.group !== undefined) throw new UsageError('-g cannot be used with -q: give one of them')
  if (offset !== 'beginning' && offset !== 'end')
    throw new UsageError(
      'with -q, -o says where a new group begins: beginning or end; see `logloom group reset`',
    )
  await withBroker(o.url, async client => {
    const queue = client.queue({
      group,
      topics: topic,
      as: 'bytes',
      autoOffsetReset: offset === 'end' ? 'latest' : 'earliest',
    })
    const release = onStopSignal(() => void queue.close())
    const sink = new ByteSink()
    let left = count
    const acks: Promise<void>[] = []
    const print = async (record: QueueRecord<Uint8Array, Uint8Array>): Promise<void> => {
      write(record, sink)
      await writeBytes(1, sink.view())
      sink.clear()
      acks.push(record.ack())
      left--
    }
    const closeWhenDone = async (): Promise<void> => {
      for (;;) {
        await new Promise(resolve => setTimeout(resolve, idleLookMs))
        const { partitions } = await client.admin().describeShareGroup(group)
        if (partitions.length > 0 && partitions.every(({ lag }) => lag === 0)) return queue.close()
      }
    }
    try {
      if (left <= 0) return
      // A group that is not there yet has no lag: the first look comes after the first request for records.
      if (o.exit === true) closeWhenDone().catch(() => queue.close())
      for await (const record of queue) {
        await print(record)
        if (left <= 0) break
      }
      await Promise.all(acks)
    } finally {
      release()
      await queue.close()
    }
  })
}

// fetch: long poll (protocol.md 6.3). A request that waits costs a listener and a place in the shared timers, and holds nothing up.

import { optUint, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { checkTopicName } from '../../wire/topic-name.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { PastRange } from '../state/past.ts'
import type { TopicState } from '../state/topics.ts'
import type { Call, Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { countRecords, formatItems, readFormat } from './items.ts'
import { asOfPosition, dependsOnEnd, offsetSpec } from './offset-spec.ts'

const maxBytesDefault = 1 << 20
const maxWaitMsDefault = 500

export async function fetch(
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
  call: Call,
): Promise<Frame> {
  const { broker, settings } = context
  const asOf = await asOfPosition(context, frame)
  const topic = await existingTopic(context, frame)
  const { partition } = await context.topics.partitionSoon(topic, uint(frame, 'partition'))
  const past = asOf === undefined ? undefined : broker.past(topic.id, partition, asOf)
  const format = readFormat(frame)
  const maxBytes = Math.min(optUint(frame, 'maxBytes') ?? maxBytesDefault, settings.fetchBytesMax)
  const minBytes = Math.min(optUint(frame, 'minBytes') ?? 1, maxBytes)
  const maxWaitMs = Math.min(
    optUint(frame, 'maxWaitMs') ?? maxWaitMsDefault,
    settings.fetchWaitMsMax,
  )
  const from = await startOffset(context, frame, topic, partition, past)
  const deadline = performance.now() + maxWaitMs
  for (;;) {
    const turn = connection.output.reserve(call, Math.max(maxBytes, 1))
    if (turn !== undefined) await turn
    connection.access?.must('topic', topic.name, 'read')
    if (broker.topicById(topic.id) === undefined)
      throw new LogloomError('UNKNOWN_TOPIC', `topic ${topic.name} was deleted`, {
        topic: topic.name,
      })
    const partitions = topic.partitions.length
    const gone = past === undefined ? undefined : goneSince(topic, partition, from, past)
    if (past !== undefined && gone !== undefined) {
      connection.output.release(call)
      const { start } = context.topics.partition(topic, partition)
      return { items: [gone], next: gone['next'], start, end: past.end, partitions }
    }
    const result = await broker.read(topic.id, partition, from, maxBytes, past?.end)
    const now = performance.now()
    // Nothing comes to what is past.
    const isEnough =
      past !== undefined ||
      result.bytes >= minBytes ||
      (result.items.length > 0 && result.bytes === 0)
    if (isEnough || now >= deadline || connection.leaving) {
      connection.output.release(call, result.bytes)
      const { items, next } = await formatItems(result, from, format)
      const traffic = context.stats.topic(topic.name)
      traffic.fetchBytes += result.bytes
      call.readBytes = result.bytes
      traffic.fetchRecords += countRecords(result)
      return { items, next, start: result.start, end: result.end, partitions }
    }
    connection.output.release(call)
    await appendOrTimeout(context, connection, topic, partition, deadline - now)
    call.parkedMs += performance.now() - now
  }
}

/** Resolves `from` of a read; what depends on the end is answered after a sync. */
export async function startOffset(
  context: GatewayContext,
  frame: Frame,
  topic: TopicState,
  partition: number,
  past: PastRange | undefined,
): Promise<number> {
  const spec = offsetSpec(frame, 'from')
  const state = context.topics.partition(topic, partition)
  // An offset that is known to exist needs no look at the log, nor does what is past.
  const known = past !== undefined || (typeof spec === 'number' && spec <= state.next)
  if (dependsOnEnd(spec) && !known) await context.broker.fresh()
  return context.broker.offsetAt(topic.id, partition, spec, past)
}

/** What was there as of a position, from `from` on, and is trimmed by now. */
function goneSince(
  topic: TopicState,
  partition: number,
  from: number,
  past: PastRange,
): Frame | undefined {
  const next = Math.min(topic.partitions[partition]?.start ?? 0, past.end)
  return from < next ? { gap: 'trimmed', offset: from, next } : undefined
}

/** A topic that must exist: reading creates none. */
export async function existingTopic(context: GatewayContext, frame: Frame): Promise<TopicState> {
  const name = str(frame, 'topic')
  checkTopicName(name)
  return context.topics.find(name)
}

function appendOrTimeout(
  context: GatewayContext,
  connection: Connection,
  topic: TopicState,
  partition: number,
  ms: number,
): Promise<void> {
  return new Promise(resolve => {
    const wake = (): void => {
      for (const stop of stops) stop()
      resolve()
    }
    const stops = [
      context.broker.onAppend(topic.id, partition, wake),
      context.timers.after(Math.max(0, ms), wake),
      connection.onLeaving(wake),
    ]
    if (connection.access !== undefined) stops.push(connection.onRecheck(wake))
  })
}

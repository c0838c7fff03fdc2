// A record now and then that this broker writes and reads back, so that its whole path is watched also while nobody uses it. Off unless asked for.

import { encodeBatch, decodeBatch, readBatchHeader } from '../wire/batch.ts'
import type { Clock } from '../loglets/ports.ts'
import type { Broker } from './broker.ts'
import { Histogram } from './gateway/stats.ts'

/** Kept for ten minutes: nobody needs it once it was read back. */
const canaryTopic = '__canary'
const retentionMs = 600_000
const readBytesMax = 1 << 16

export class CanaryStats {
  readonly roundtrips = new Histogram()
  /** Taken, and not there when it was read back. */
  lost = 0
  /** Not taken, or not readable: the log or the broker was not available. */
  failed = 0
}

export interface CanaryOptions {
  readonly broker: Broker
  readonly clock: Clock
  readonly nodeId: string
  readonly intervalMs: number
  readonly stats: CanaryStats
}

/** Runs until the signal says stop. Never rejects. */
export async function runCanary(options: CanaryOptions, signal: AbortSignal): Promise<void> {
  const { clock, intervalMs, stats } = options
  for (let serial = 0; !signal.aborted; serial++) {
    try {
      await clock.sleep(intervalMs, signal)
    } catch {
      return
    }
    try {
      await sing(options, serial)
    } catch {
      stats.failed++
    }
  }
}

/** One record. @throws when it was not taken, or cannot be read now */
async function sing(
  { broker, clock, nodeId, stats }: Omit<CanaryOptions, 'intervalMs'>,
  serial: number,
): Promise<void> {
  const topicId = await topicOf(broker)
  const value = `${nodeId}:${serial}`
  const batch = encodeBatch([{ key: nodeId, value }], { now: broker.now })
  const begun = clock.now()
  const produce = { type: 'produce', topicId, partition: 0, batch } as const
  const decision = await broker.propose({ ...produce, header: readBatchHeader(batch) })
  if (!decision.ok) throw new Error(decision.message)
  const offset = decision.offsets?.[0]?.offset ?? 0
  const { items } = await broker.read(topicId, 0, offset, readBytesMax)
  const [item] = items
  const records = item?.kind === 'batch' ? await decodeBatch(item.batch.slice()) : []
  const found = records.some(
    record => new TextDecoder().decode(record.value ?? undefined) === value,
  )
  if (item === undefined || item.offset !== offset || !found) stats.lost++
  else stats.roundtrips.observe((clock.now() - begun) / 1000)
}

async function topicOf(broker: Broker): Promise<number> {
  const known = broker.topicByName(canaryTopic)
  if (known !== undefined) return known.id
  const decision = await broker.propose({
    type: 'createTopic',
    topic: canaryTopic,
    partitions: 1,
    config: { 'retention.ms': String(retentionMs) },
    ifNotExists: true,
  })
  if (!decision.ok) throw new Error(decision.message)
  return decision.result?.['topicId'] as number
}

// A client of a compacted topic: sets and deletes keys, each once it knows that the last one took effect. Checked: the last value of each key is served, and
// where the topic is compacted nothing else of it, however batches were moved meanwhile.

import type { Broker } from '../../broker/broker.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import type { StateMachine } from '../../broker/state/state-machine.ts'
import { decodeBatchSync, encodeBatch, readBatchHeader } from '../../wire/index.ts'
import { InvariantError } from './log-model.ts'
import { Patient } from './patient.ts'
import type { Process, World } from './world.ts'

export interface KeyedClientOptions {
  readonly world: World
  readonly driver: Process
  readonly reached: (state: string) => void
  /** The decision, or undefined when nobody can say. */
  readonly ask: (command: Command) => Promise<Decision | undefined>
}

interface Written {
  readonly key: string
  readonly value: string | null
}

const keys = 4

export class KeyedClient {
  private readonly options: KeyedClientOptions
  /** By offset; everything that took effect. */
  private readonly written = new Map<number, Written>()
  private topicId = -1
  private stopping = false

  constructor(options: KeyedClientOptions) {
    this.options = options
  }

  stop(): void {
    this.stopping = true
  }

  async run(): Promise<void> {
    const { driver, world } = this.options
    const { rng } = world
    const config = {
      'cleanup.policy': 'compact',
      'min.cleanable.dirty.ratio': '0',
      'delete.retention.ms': '50',
    }
    const patient = new Patient(this.options.ask, driver)
    const topicId = await patient.createTopic('keyed', 1, config)
    this.topicId = topicId
    const producerId = await patient.newProducer()
    let serial = 0
    while (!this.stopping) {
      const records = Array.from({ length: 1 + rng.int(4) }, () => ({
        key: `k${rng.int(keys)}`,
        value: rng.chance(0.3) ? null : `v${serial++}`,
      }))
      const baseSequence = this.written.size
      const producer = { producerId, producerEpoch: 0, baseSequence }
      const batch = encodeBatch(records, { now: 0, producer })
      const header = readBatchHeader(batch)
      const decision = await patient.insist({
        type: 'produce',
        topicId,
        partition: 0,
        batch,
        header,
      })
      const base = decision.offsets?.[0]?.offset as number
      records.forEach((record, i) => this.written.set(base + i, record))
      await driver.sleep(rng.next() * 10)
    }
  }

  /** Moves a batch to the tail that may not be there any more. Any broker may do that at any time. */
  async moveOne(broker: Broker, process: Process): Promise<void> {
    const { reached, world } = this.options
    const { rng } = world
    const machine = machineOf(broker)
    const partition = machine.topics.partition(this.topicId, 0)
    if (partition === undefined) return
    const entries = [...machine.topics.entriesFrom(partition, partition.start)]
    if (entries.length === 0) return
    const { base, lsn, start } = rng.pick(entries)
    if (base < partition.start) return
    const { items } = await broker.read(this.topicId, 0, base, 1)
    const [item] = items
    if (item?.kind !== 'batch' || item.offset !== base) return
    const batch = item.batch.slice()
    await process.sleep(rng.next() * 150)
    const header = readBatchHeader(batch)
    const moves = [{ topicId: this.topicId, partition: 0, base, lsn, start, batch, header }]
    const decision = await broker.propose({ type: 'relocate', moves })
    if (decision.ok) reached(`moves: ${String(decision.result?.moved)}`)
  }

  async readBack(broker: Broker): Promise<void> {
    const { reached } = this.options
    const partition = machineOf(broker).topics.partition(this.topicId, 0)
    if (partition === undefined) return
    // A pass may end while this reads.
    const { to } = partition.compaction
    const served = new Map<number, Written>()
    for (let at = partition.start; at < partition.next; ) {
      const { items, next } = await broker.read(this.topicId, 0, at, 2000)
      for (const item of items) {
        // What was trimmed of a batch is served with the rest of it; nobody looks at it.
        if (item.kind === 'batch') collect(served, item.offset, item.batch, partition.start)
        else if (item.gap === 'lost')
          throw new InvariantError(`offsets ${item.offset} to ${item.next} of keyed are lost`)
        else reached(`keyed gap ${item.gap}`)
      }
      at = Math.max(next, partition.start)
    }
    const last = new Map<string, number>()
    const lastCompacted = new Map<string, number>()
    for (const [offset, { key }] of this.written) {
      last.set(key, Math.max(offset, last.get(key) ?? -1))
      if (offset < to) lastCompacted.set(key, Math.max(offset, lastCompacted.get(key) ?? -1))
    }
    for (const [offset, { key, value }] of served) {
      const known = this.written.get(offset)
      if (known?.key !== key || known.value !== value)
        throw new InvariantError(`keyed ${offset} has ${key}=${value}, written was ${known?.value}`)
      const isOld = offset < to && lastCompacted.get(key) !== offset
      if (isOld) throw new InvariantError(`keyed ${offset}, ${key}=${value}, was compacted away`)
    }
    for (const [key, offset] of last) {
      const value = this.written.get(offset)?.value ?? null
      if (value !== null && offset >= partition.start && !served.has(offset))
        throw new InvariantError(`keyed: ${key}=${value} at ${offset} is gone`)
    }
    if (to > 0) reached('keyed compacted')
  }
}

function collect(
  served: Map<number, Written>,
  base: number,
  batch: Uint8Array,
  start: number,
): void {
  const text = new TextDecoder()
  for (const { offsetDelta, key, value } of decodeBatchSync(batch))
    if (base + offsetDelta >= start)
      served.set(base + offsetDelta, {
        key: text.decode(key ?? undefined),
        value: value === null ? null : text.decode(value),
      })
}

/** Nobody but cleaning needs to know where a batch lies. */
function machineOf(broker: Broker): StateMachine {
  return Reflect.get(broker, 'machine') as StateMachine
}

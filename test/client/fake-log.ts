// What a fake broker stores: topics, partitions, and the decisions of producers (protocol.md 3 to 5), in memory, one entry at a time.
//
// Guarantees the sequence rules exactly, so that a client that breaks them loses or doubles records here as it would anywhere.

import { checkBatch, type Frame, LogloomError, wireLimits } from '../../wire/index.ts'

export interface StoredBatch {
  readonly offset: number
  readonly next: number
  readonly lsn: number
  readonly timestamp: number
  readonly batch: Uint8Array
}

export interface StoredGap {
  readonly gap: string
  readonly offset: number
  readonly next: number
}

export interface FakePartition {
  readonly items: (StoredBatch | StoredGap)[]
  start: number
  end: number
}

export interface FakeTopic {
  readonly name: string
  readonly topicId: number
  readonly config: Record<string, string>
  readonly partitions: FakePartition[]
  /** How it came by them (protocol.md 2.1), as `describeTopic` tells it; absent: it does not. */
  epochs?: readonly Frame[]
}

interface SequenceLane {
  next: number
  decided: { readonly sequence: number; readonly answer: Frame | LogloomError }[]
}

export interface Identity {
  readonly id: number
  readonly epoch: number
  readonly sequence: number
}

const modulus = 2 ** 31

export class FakeLog {
  readonly topics = new Map<string, FakeTopic>()
  autoCreate = true
  partitionsDefault = 1
  batchBytesMax: number = wireLimits.batchBytesMax
  onAppend: () => void = () => {}
  #lsn = 0
  #producers = 1
  #lanes = new Map<string, Map<string, SequenceLane>>()

  newProducer(): Frame {
    const producerId = this.#producers++
    this.#lanes.set(`${producerId}/0`, new Map())
    return { producerId, producerEpoch: 0 }
  }

  /** As after a crash of a broker that kept nothing of its producers. */
  forgetProducers(): void {
    this.#lanes.clear()
  }

  /** As when all topics were deleted and made anew: producers are known, their places are not. */
  forgetPlaces(): void {
    for (const lanes of this.#lanes.values()) lanes.clear()
  }

  create(name: string, partitions = this.partitionsDefault): FakeTopic {
    const topic: FakeTopic = {
      name,
      topicId: this.topics.size + 1,
      config: {},
      partitions: Array.from({ length: partitions }, () => ({ items: [], start: 0, end: 0 })),
    }
    this.topics.set(name, topic)
    return topic
  }

  topic(name: string): FakeTopic {
    const topic = this.topics.get(name)
    if (topic) return topic
    const details = { autoCreate: this.autoCreate }
    throw new LogloomError('UNKNOWN_TOPIC', `there is no topic ${name}`, details)
  }

  partition(name: string, partition: number): FakePartition {
    const found = this.topic(name).partitions[partition]
    if (!found) throw new LogloomError('UNKNOWN_PARTITION', `${name} has no partition ${partition}`)
    return found
  }

  /** Takes one decision per sequence; repeats it to duplicates (protocol.md 5). */
  decide(who: Identity | undefined, lane: string, count: number, act: () => Frame): Frame {
    if (!who || who.id === 0) return act()
    let lanes = this.#lanes.get(`${who.id}/${who.epoch}`)
    if (!lanes) {
      if (who.sequence !== 0)
        throw new LogloomError('UNKNOWN_PRODUCER', `producer ${who.id} expired`)
      lanes = new Map()
      this.#lanes.set(`${who.id}/${who.epoch}`, lanes)
    }
    let state = lanes.get(lane)
    if (!state) {
      state = { next: 0, decided: [] }
      lanes.set(lane, state)
    }
    const earlier = state.decided.find(decision => decision.sequence === who.sequence)
    if (earlier) return unwrap(earlier.answer)
    if (who.sequence !== state.next) {
      const details = { expected: state.next }
      throw new LogloomError('OUT_OF_ORDER_SEQUENCE', `sequence ${who.sequence}`, details)
    }
    let answer: Frame | LogloomError
    try {
      answer = act()
    } catch (error) {
      const { code, message, details } = error as LogloomError
      answer = new LogloomError(code as 'INTERNAL', message, { ...details, decided: true })
    }
    state.next = (state.next + count) % modulus
    state.decided.push({ sequence: who.sequence, answer })
    if (state.decided.length > 5) state.decided.shift()
    return unwrap(answer)
  }

  /** Refuses what a gateway refuses before anything is decided. */
  check(batch: Uint8Array): {
    readonly count: number
    readonly span: number
    readonly who: Identity
  } {
    const header = checkBatch(batch, { bytesMax: this.batchBytesMax })
    const { count, span, producerId: id, producerEpoch: epoch, baseSequence: sequence } = header
    return { count, span, who: { id, epoch, sequence } }
  }

  expect(topic: string, partition: number, offset: number): void {
    const actual = this.partition(topic, partition).end
    if (actual === offset) return
    const details = { topic, partition, expected: offset, actual }
    throw new LogloomError('OFFSET_CONFLICT', `the next offset is ${actual}`, details)
  }

  nextLsn(): number {
    return this.#lsn++
  }

  append(
    topic: string,
    partition: number,
    batch: Uint8Array,
    span: number,
    lsn: number,
  ): StoredBatch {
    const log = this.partition(topic, partition)
    const stored = {
      offset: log.end,
      next: log.end + span,
      lsn,
      timestamp: 1000 + lsn,
      batch: batch.slice(),
    }
    log.items.push(stored)
    log.end = stored.next
    this.onAppend()
    return stored
  }

  /** Offsets that nobody can read. */
  appendGap(topic: string, partition: number, gap: string, span: number): void {
    const log = this.partition(topic, partition)
    log.items.push({ gap, offset: log.end, next: log.end + span })
    log.end += span
    this.onAppend()
  }

  /** Where `from` lies (protocol.md 6.1). */
  resolve(topic: string, partition: number, from: unknown): number {
    const { start, end } = this.partition(topic, partition)
    if (from === 'beginning') return start
    if (from === 'end') return end
    if (typeof from === 'number') {
      const details = { start, end }
      if (from > end) throw new LogloomError('OFFSET_OUT_OF_RANGE', `${from} > ${end}`, details)
      if (from < start) throw new LogloomError('OFFSET_TRIMMED', `${from} < ${start}`, details)
      return from
    }
    const { last } = from as { last: number }
    return Math.max(start, end - last)
  }
}

function unwrap(answer: Frame | LogloomError): Frame {
  if (answer instanceof LogloomError) throw answer
  return answer
}

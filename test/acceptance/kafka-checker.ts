// The rules of Jepsen's kafka workload that apply here (docs/architecture.md 9): three outcomes, ok, fail and info; values are unique, so
// every record that is read names the send it came from. A history is written in Jepsen's shape, one operation per line.

export interface Operation {
  readonly type: 'invoke' | 'ok' | 'fail' | 'info'
  readonly f: 'send' | 'poll'
  readonly process: number
  readonly partition: number
  readonly offset?: number
  readonly value: string
  /** ms since the start. */
  readonly time: number
}

export interface Findings {
  readonly attempted: number
  readonly acked: number
  readonly failed: number
  readonly unknown: number
  readonly read: number
  /** Acked, and not there although later ones are. */
  readonly lost: number
  /** Acked, and never read although the final reads passed it. */
  readonly unseen: number
  readonly duplicate: number
  /** One offset with two values. */
  readonly inconsistentOffsets: number
  /** Read, and never sent, or its send definitely failed. */
  readonly phantom: number
  /** One producer's records of a partition in another order than sent. */
  readonly reordered: number
  /** One reader went back, or over a record that is there. */
  readonly pollNonmonotonic: number
  readonly pollSkip: number
}

type Outcome = 'ok' | 'fail' | 'info' | 'never sent'

/** What is known of a value. */
interface Value {
  readonly partition: number
  readonly process: number
  outcome: Outcome
  /** That its ack told. */
  offset?: number
  /** Where it was read first. */
  found?: Place
}

/** A partition and an offset in one number: tens of millions of reads have to fit into memory. */
type Place = number
const partitionsMost = 1024
const placeOf = (partition: number, offset: number): Place => offset * partitionsMost + partition
const partitionAt = (place: Place): number => place % partitionsMost
const offsetAt = (place: Place): number => Math.floor(place / partitionsMost)

export class KafkaChecker {
  /** In the order in which they were sent. */
  private readonly values = new Map<string, Value>()
  /** From acks and reads alike. */
  private readonly places = new Map<Place, Value>()
  /** Those that were read in more than one place. */
  private readonly repeated = new Set<Value>()
  private readonly readers = new Map<string, number>()
  private inconsistent = 0
  private phantoms = 0
  private backwards = 0
  private reads = 0
  private readonly skips: { partition: number; from: number; to: number }[] = []

  invoke(value: string, process: number, partition: number): void {
    this.values.set(value, { partition, process, outcome: 'info' })
  }

  ok(value: string, offset: number): void {
    const sent = this.values.get(value) as Value
    sent.outcome = 'ok'
    sent.offset = offset
    this.place(sent.partition, offset, sent)
  }

  fail(value: string): void {
    ;(this.values.get(value) as Value).outcome = 'fail'
  }

  /** `reader` is one uninterrupted series of reads of a partition. */
  poll(reader: string, partition: number, offset: number, value: string): void {
    this.reads++
    const key = `${reader}/${partition}`
    const next = this.readers.get(key)
    if (next !== undefined && offset < next) this.backwards++
    if (next !== undefined && offset > next) this.skips.push({ partition, from: next, to: offset })
    this.readers.set(key, offset + 1)
    const known = this.values.get(value) ?? this.neverSent(value, partition)
    if (known.outcome === 'fail' || known.outcome === 'never sent') this.phantoms++
    const place = this.place(partition, offset, known)
    known.found ??= place
    if (known.found !== place) this.repeated.add(known)
  }

  verdict(): Findings {
    const outcomes = { ok: 0, fail: 0, info: 0, 'never sent': 0 }
    const highest = new Map<number, number>()
    for (const { found } of this.values.values()) {
      if (found === undefined) continue
      const partition = partitionAt(found)
      highest.set(partition, Math.max(highest.get(partition) ?? -1, offsetAt(found)))
    }
    let lost = 0
    let unseen = 0
    for (const { outcome, partition, offset, found } of this.values.values()) {
      outcomes[outcome]++
      if (outcome !== 'ok' || found !== undefined) continue
      if ((offset as number) <= (highest.get(partition) ?? -1)) lost++
      else unseen++
    }
    return {
      attempted: this.values.size - outcomes['never sent'],
      acked: outcomes.ok,
      failed: outcomes.fail,
      unknown: outcomes.info,
      read: this.reads,
      lost,
      unseen,
      duplicate: this.repeated.size,
      inconsistentOffsets: this.inconsistent,
      phantom: this.phantoms,
      reordered: this.reordered(),
      pollNonmonotonic: this.backwards,
      pollSkip: this.skips.filter(({ partition, from, to }) => {
        for (let offset = from; offset < to; offset++)
          if (this.places.has(placeOf(partition, offset))) return true
        return false
      }).length,
    }
  }

  private neverSent(value: string, partition: number): Value {
    const stranger: Value = { partition, process: -1, outcome: 'never sent' }
    this.values.set(value, stranger)
    return stranger
  }

  private place(partition: number, offset: number, value: Value): Place {
    const place = placeOf(partition, offset)
    const known = this.places.get(place)
    if (known === undefined) this.places.set(place, value)
    else if (known !== value) this.inconsistent++
    return place
  }

  /** Each producer's records of one partition must lie in the order in which they were sent. */
  private reordered(): number {
    const last = new Map<string, Place>()
    let count = 0
    for (const { process, partition, found, outcome } of this.values.values()) {
      if (found === undefined || outcome === 'never sent') continue
      const lane = `${process}/${partition}`
      if (offsetAt(found) <= offsetAt(last.get(lane) ?? -1)) count++
      last.set(lane, found)
    }
    return count
  }
}

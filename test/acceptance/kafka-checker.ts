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

interface Send {
  readonly partition: number
  readonly process: number
  outcome: 'ok' | 'fail' | 'info'
  offset?: number
}

/** A partition and an offset in one number: some ten million records have to fit into memory. */
type Place = number
const partitionsMost = 1024
const placeOf = (partition: number, offset: number): Place => offset * partitionsMost + partition
const partitionAt = (place: Place): number => place % partitionsMost
const offsetAt = (place: Place): number => Math.floor(place / partitionsMost)

export class KafkaChecker {
  private readonly sends = new Map<string, Send>()
  /** From acks and reads alike. */
  private readonly places = new Map<Place, string>()
  /** Where a value was read first. */
  private readonly found = new Map<string, Place>()
  /** Values that were read in more than one place. */
  private readonly repeated = new Set<string>()
  private readonly readers = new Map<string, number>()
  private inconsistent = 0
  private phantoms = 0
  private backwards = 0
  private reads = 0
  private readonly skips: { partition: number; from: number; to: number }[] = []

  invoke(value: string, process: number, partition: number): void {
    this.sends.set(value, { partition, process, outcome: 'info' })
  }

  ok(value: string, offset: number): void {
    const send = this.sends.get(value) as Send
    send.outcome = 'ok'
    send.offset = offset
    this.place(send.partition, offset, value)
  }

  fail(value: string): void {
    ;(this.sends.get(value) as Send).outcome = 'fail'
  }

  /** `reader` is one uninterrupted series of reads of a partition. */
  poll(reader: string, partition: number, offset: number, value: string): void {
    this.reads++
    const key = `${reader}/${partition}`
    const next = this.readers.get(key)
    if (next !== undefined && offset < next) this.backwards++
    if (next !== undefined && offset > next) this.skips.push({ partition, from: next, to: offset })
    this.readers.set(key, offset + 1)
    const send = this.sends.get(value)
    if (send === undefined || send.outcome === 'fail') this.phantoms++
    const place = this.place(partition, offset, value)
    const first = this.found.get(value)
    if (first === undefined) this.found.set(value, place)
    else if (first !== place) this.repeated.add(value)
  }

  verdict(): Findings {
    const outcomes = { ok: 0, fail: 0, info: 0 }
    const highest = new Map<number, number>()
    for (const place of this.found.values())
      highest.set(
        partitionAt(place),
        Math.max(highest.get(partitionAt(place)) ?? -1, offsetAt(place)),
      )
    let lost = 0
    let unseen = 0
    for (const [value, { outcome, partition, offset }] of this.sends) {
      outcomes[outcome]++
      if (outcome !== 'ok' || this.found.has(value)) continue
      if ((offset as number) <= (highest.get(partition) ?? -1)) lost++
      else unseen++
    }
    return {
      attempted: this.sends.size,
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

  private place(partition: number, offset: number, value: string): Place {
    const place = placeOf(partition, offset)
    const known = this.places.get(place)
    if (known !== undefined && known !== value) this.inconsistent++
    this.places.set(place, value)
    return place
  }

  /** Each producer's records of one partition must lie in the order in which they were sent. */
  private reordered(): number {
    const last = new Map<string, Place>()
    let count = 0
    // Sends lie in the order in which they were made.
    for (const [value, { process, partition }] of this.sends) {
      const place = this.found.get(value)
      if (place === undefined) continue
      const lane = `${process}/${partition}`
      if (offsetAt(place) <= offsetAt(last.get(lane) ?? -1)) count++
      last.set(lane, place)
    }
    return count
  }
}

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
  readonly sequence: number
  outcome: 'ok' | 'fail' | 'info'
  offset?: number
}

export class KafkaChecker {
  private readonly sends = new Map<string, Send>()
  /** `partition/offset` → value, from acks and reads alike. */
  private readonly places = new Map<string, string>()
  private readonly found = new Map<string, Set<string>>()
  private readonly readers = new Map<string, number>()
  private inconsistent = 0
  private phantoms = 0
  private backwards = 0
  private reads = 0
  private sequence = 0
  private readonly skips: { partition: number; from: number; to: number }[] = []
  private finished = new Map<number, number>()

  invoke(value: string, process: number, partition: number): void {
    this.sends.set(value, { partition, process, sequence: this.sequence++, outcome: 'info' })
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
    this.place(partition, offset, value)
    const places = this.found.get(value) ?? new Set()
    places.add(`${partition}/${offset}`)
    this.found.set(value, places)
  }

  /** After everything healed, a read of the partition went up to `end`. */
  readUpTo(partition: number, end: number): void {
    this.finished.set(partition, end)
  }

  verdict(): Findings {
    const sends = [...this.sends]
    const ok = sends.filter(([, send]) => send.outcome === 'ok')
    const highest = new Map<number, number>()
    for (const place of [...this.found.values()].flatMap(places => [...places])) {
      const [partition = 0, offset = 0] = place.split('/').map(Number)
      highest.set(partition, Math.max(highest.get(partition) ?? -1, offset))
    }
    const missing = ok.filter(([value]) => !this.found.has(value)).map(([, send]) => send)
    const isBelowRead = (send: Send): boolean =>
      (send.offset as number) <= (highest.get(send.partition) ?? -1)
    return {
      attempted: sends.length,
      acked: ok.length,
      failed: sends.filter(([, send]) => send.outcome === 'fail').length,
      unknown: sends.filter(([, send]) => send.outcome === 'info').length,
      read: this.reads,
      lost: missing.filter(isBelowRead).length,
      unseen: missing.filter(send => !isBelowRead(send)).length,
      duplicate: [...this.found.values()].filter(places => places.size > 1).length,
      inconsistentOffsets: this.inconsistent,
      phantom: this.phantoms,
      reordered: this.reordered(),
      pollNonmonotonic: this.backwards,
      pollSkip: this.skips.filter(({ partition, from, to }) => {
        for (let offset = from; offset < to; offset++)
          if (this.places.has(`${partition}/${offset}`)) return true
        return false
      }).length,
    }
  }

  private place(partition: number, offset: number, value: string): void {
    const key = `${partition}/${offset}`
    const known = this.places.get(key)
    if (known !== undefined && known !== value) this.inconsistent++
    this.places.set(key, value)
  }

  /** Each producer's records of one partition must lie in the order in which they were sent. */
  private reordered(): number {
    const lanes = new Map<string, { sequence: number; offset: number }[]>()
    for (const [value, places] of this.found) {
      const send = this.sends.get(value)
      const [place] = places
      if (send === undefined || place === undefined) continue
      const lane = `${send.process}/${send.partition}`
      const list = lanes.get(lane) ?? []
      list.push({ sequence: send.sequence, offset: Number(place.split('/')[1]) })
      lanes.set(lane, list)
    }
    let count = 0
    for (const list of lanes.values()) {
      list.sort((a, b) => a.sequence - b.sequence)
      for (let i = 1; i < list.length; i++)
        if ((list[i]?.offset ?? 0) <= (list[i - 1]?.offset ?? 0)) count++
    }
    return count
  }
}

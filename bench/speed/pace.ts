// A fixed pace for whoever puts load on something: a piece is late from the moment at which it was due, not from when it was sent, so that a stall
// counts for everything that it delays.

export interface Pace {
  /** Pieces per second. */
  readonly rate: number
  readonly seconds: number
}

export class Schedule {
  readonly total: number
  /** From when a piece was due until it was done, ms, in their order. */
  readonly latencies: number[] = []
  private readonly rate: number
  private readonly start = performance.now()

  constructor({ rate, seconds }: Pace) {
    this.rate = rate
    this.total = Math.round(rate * seconds)
  }

  /** How many are due by now, all that were before included. */
  get due(): number {
    const elapsed = performance.now() - this.start
    return Math.min(this.total, Math.floor((elapsed / 1000) * this.rate) + 1)
  }

  /** The next one is done: with equal pieces the oldest is a fair partner. */
  done(): void {
    const due = this.start + (this.latencies.length / this.rate) * 1000
    this.latencies.push(performance.now() - due)
  }

  get isOver(): boolean {
    return this.latencies.length === this.total
  }

  /** Calls `look` every millisecond, or as often as the timer can, until all is done. */
  every(look: () => void): void {
    look()
    if (!this.isOver) setTimeout(() => this.every(look), 1)
  }
}

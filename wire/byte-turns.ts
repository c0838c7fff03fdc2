// Work that needs much memory takes turns, so that what many peers ask for at once needs no more than one of them may.
//
// Guarantees: what runs holds at most `bytesMax` in all, or it is a single piece that is larger; who has waited longest is next. It does not
// know what the work is, and counts only what it is told.

interface Waiting {
  readonly bytes: number
  readonly start: () => void
}

export class ByteTurns {
  private readonly bytesMax: number
  private held = 0
  private readonly waiting: Waiting[] = []

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  /** Runs `work` when `bytes` are free; they are held until its promise settles. */
  async run<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    if (this.waiting.length > 0 || !this.fits(bytes))
      await new Promise<void>(start => this.waiting.push({ bytes, start }))
    else this.held += bytes
    try {
      return await work()
    } finally {
      this.held -= bytes
      this.startNext()
    }
  }

  private fits(bytes: number): boolean {
    return this.held === 0 || this.held + bytes <= this.bytesMax
  }

  private startNext(): void {
    for (
      let next = this.waiting[0];
      next !== undefined && this.fits(next.bytes);
      next = this.waiting[0]
    ) {
      this.waiting.shift()
      this.held += next.bytes
      next.start()
    }
  }
}

// Coarse timers for thousands of connections: one interval, buckets by tick. Nothing here is exact; nothing costs a timer per request.

export class Timers {
  private readonly tickMs: number
  private readonly buckets = new Map<number, Set<() => void>>()
  private readonly interval: ReturnType<typeof setInterval>
  private done: number

  constructor(tickMs: number) {
    this.tickMs = tickMs
    this.done = this.tickAt(performance.now())
    this.interval = setInterval(() => this.tick(), tickMs)
    this.interval.unref()
  }

  /** Runs `fn` once, `ms` from now or a little later. Returns the way to cancel. */
  after(ms: number, fn: () => void): () => void {
    const at = Math.max(this.done + 1, this.tickAt(performance.now() + ms) + 1)
    let bucket = this.buckets.get(at)
    if (bucket === undefined) {
      bucket = new Set()
      this.buckets.set(at, bucket)
    }
    bucket.add(fn)
    return () => bucket.delete(fn)
  }

  close(): void {
    clearInterval(this.interval)
    this.buckets.clear()
  }

  private tickAt(ms: number): number {
    return Math.floor(ms / this.tickMs)
  }

  private tick(): void {
    const now = this.tickAt(performance.now())
    while (this.done < now) {
      this.done++
      const bucket = this.buckets.get(this.done)
      this.buckets.delete(this.done)
      if (bucket !== undefined) for (const fn of bucket) fn()
    }
  }
}

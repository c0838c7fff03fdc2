// What whoever waits for a benchmark sees: which scenario runs, what it does, and how much time is left.

/** Time left is the estimate of what has not run yet, stretched by how far the estimates were off so far. */
export class Progress {
  private readonly write: (text: string) => void
  private readonly isTerminal: boolean
  private readonly begun = performance.now()
  private readonly total: number
  private done = 0
  private current = 0
  private currentBegun = 0
  private title = ''

  constructor(
    estimates: readonly number[],
    stream: { write(text: string): unknown; isTTY?: boolean },
  ) {
    this.total = estimates.reduce((sum, seconds) => sum + seconds, 0)
    this.write = text => void stream.write(text)
    this.isTerminal = stream.isTTY === true
  }

  begin(name: string, seconds: number): void {
    this.current = seconds
    this.currentBegun = performance.now()
    this.title = name
    this.line(`${name} (about ${minutes(seconds)}), ${this.left()} left`)
  }

  tick(what: string): void {
    const text = `${this.title}: ${what}, ${this.left()} left`
    if (this.isTerminal) this.write(`\r\u001b[K${text}`)
    else this.write(`  ${text}\n`)
  }

  end(outcome: string): void {
    const took = (performance.now() - this.currentBegun) / 1000
    this.done += this.current
    this.current = 0
    this.line(`${this.title}: ${outcome}, took ${minutes(took)}`)
  }

  private left(): string {
    const now = performance.now()
    const share = Math.min(this.current, (now - this.currentBegun) / 1000)
    const passed = (now - this.begun) / 1000
    const pace = this.done > 0 ? Math.max(0.5, passed / (this.done + share || 1)) : 1
    return minutes((this.total - this.done - share) * pace)
  }

  private line(text: string): void {
    this.write(`${this.isTerminal ? '\r\u001b[K' : ''}${text}\n`)
  }
}

function minutes(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  return whole < 100 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`
}

// A rate as a bucket of tokens that may run into debt (Kafka's quotas, KIP-13, KIP-599): what was asked is served and paid for afterwards, by
// waiting. So one request larger than the bucket passes, and the average holds all the same.
//
//   tokens   ◄── grow by `ratePerSecond`, up to one second's worth
//   debt     ◄── below zero: how long its owner has to wait

export class TokenBucket {
  private rate: number
  private tokens: number
  private at: number

  /** `now`: monotonic, ms. */
  constructor(ratePerSecond: number, now: number) {
    this.rate = ratePerSecond
    this.tokens = ratePerSecond
    this.at = now
  }

  /** Changes the rate; a debt stays one. */
  setRate(ratePerSecond: number, now: number): void {
    this.fill(now)
    this.rate = ratePerSecond
    this.tokens = Math.min(this.tokens, ratePerSecond)
  }

  /** Takes tokens, there or not. @returns ms until the debt is paid; 0 without one */
  take(amount: number, now: number): number {
    this.fill(now)
    this.tokens -= amount
    return this.waitMs()
  }

  /** Takes one token if it is there. */
  tryTake(now: number): boolean {
    this.fill(now)
    if (this.tokens < 1) return false
    this.tokens--
    return true
  }

  /** ms until the debt is paid; 0 without one. */
  debtMs(now: number): number {
    this.fill(now)
    return this.waitMs()
  }

  isFull(now: number): boolean {
    this.fill(now)
    return this.tokens >= this.rate
  }

  private waitMs(): number {
    return this.tokens >= 0 ? 0 : Math.ceil((-this.tokens / this.rate) * 1000)
  }

  private fill(now: number): void {
    const gained = (Math.max(0, now - this.at) * this.rate) / 1000
    this.tokens = Math.min(this.rate, this.tokens + gained)
    this.at = now
  }
}

// Time and chance for the SDK, as one port.
//
// Everything in client/ that waits, measures or rolls dice does it here, so that tests can drive deadlines by hand and the same
// code runs in Node and in browsers. It does not know what is being waited for.

/** Where the SDK gets time and randomness from; the default is {@link systemClock}. */
export interface ClientClock {
  /** Wall clock, milliseconds since 1970; may jump. Only stamped on records. */
  wallMs(): number
  /** Monotonic milliseconds; only differences mean anything. */
  nowMs(): number
  /** Runs `run` once, not before `delayMs`; the returned function cancels it. */
  schedule(delayMs: number, run: () => void): () => void
  /** Uniform in `[0, 1)`. */
  random(): number
}

/** The longest that timers take, about 24 days: a longer one, as of a setting that is infinite, would be over at once. */
export const timerMsMax: number = 2 ** 31 - 1

/** The real clock of Node and browsers. */
export const systemClock: ClientClock = {
  wallMs: () => Date.now(),
  nowMs: () => performance.now(),
  schedule: (delayMs, run) => {
    let timer: ReturnType<typeof setTimeout>
    const arm = (leftMs: number): void => {
      const next = leftMs > timerMsMax ? () => arm(leftMs - timerMsMax) : run
      timer = setTimeout(next, Math.min(leftMs, timerMsMax))
    }
    arm(delayMs)
    return () => clearTimeout(timer)
  },
  random: () => Math.random(),
}

/** Bounds of the exponential back-off between attempts, milliseconds. */
export interface Backoff {
  readonly baseMs: number
  readonly maxMs: number
}

/**
 * Delay before retry number `attempt` (from 0): uniform in `[0, min(max, base · 2^attempt))`. Full jitter, because many clients lose
 * the same broker at the same moment (Brooker, "Exponential Backoff And Jitter").
 */
export function fullJitterMs(attempt: number, backoff: Backoff, clock: ClientClock): number {
  return clock.random() * Math.min(backoff.maxMs, backoff.baseMs * 2 ** Math.min(attempt, 30))
}

/** Resolves after `delayMs`, or as soon as one of the signals aborts: the caller looks at them. */
export function pause(
  clock: ClientClock,
  delayMs: number,
  ...signals: readonly (AbortSignal | undefined)[]
): Promise<void> {
  if (signals.some(signal => signal?.aborted)) return Promise.resolve()
  return new Promise(resolve => {
    const wake = (): void => {
      cancel()
      for (const signal of signals) signal?.removeEventListener('abort', wake)
      resolve()
    }
    const cancel = clock.schedule(delayMs, wake)
    for (const signal of signals) signal?.addEventListener('abort', wake)
  })
}

// Ends a wait early. The work behind the promise goes on and its outcome is dropped; only the waiting stops.

import type { Clock } from './ports.ts'

/** Settles as `promise` does, or rejects with the reason of the first signal that is aborted. */
export function abortable<T>(
  promise: Promise<T>,
  ...signals: readonly (AbortSignal | undefined)[]
): Promise<T> {
  const watched = signals.filter(s => s !== undefined)
  const aborted = watched.find(s => s.aborted)
  if (aborted !== undefined) {
    promise.catch(() => {})
    return Promise.reject(aborted.reason as Error)
  }
  if (watched.length === 0) return promise
  return new Promise((resolve, reject) => {
    const stops = watched.map(signal => {
      const stop = (): void => {
        clear()
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', stop, { once: true })
      return () => signal.removeEventListener('abort', stop)
    })
    const clear = (): void => {
      for (const stop of stops) stop()
    }
    promise.then(
      value => {
        clear()
        resolve(value)
      },
      error => {
        clear()
        reject(error as Error)
      },
    )
  })
}

/**
 * Sleeps until the time is over or one of the signals is aborted, whichever comes first. Never rejects. Instead of `AbortSignal.any`: Node keeps such a
 * signal alive for as long as somebody listens to it, and all that the listener holds with it.
 */
export async function sleepUnless(
  clock: Pick<Clock, 'sleep'>,
  ms: number,
  ...signals: readonly AbortSignal[]
): Promise<void> {
  if (signals.some(({ aborted }) => aborted)) return
  const first = new AbortController()
  const end = (): void => first.abort()
  for (const signal of signals) signal.addEventListener('abort', end)
  try {
    await clock.sleep(ms, first.signal)
  } catch {
    // Woken.
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', end)
  }
}

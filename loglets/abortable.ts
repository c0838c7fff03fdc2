// Ends a wait early. The work behind the promise goes on and its outcome is dropped; only the waiting stops.

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

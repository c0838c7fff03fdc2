// Waiting that somebody may end.

/** The promise, or the reason of the first signal that aborts before it is settled. What becomes of it later is nobody's. */
export function abortable<R>(
  promise: Promise<R>,
  ...signals: readonly (AbortSignal | undefined)[]
): Promise<R> {
  return new Promise((resolve, reject) => {
    const abort = (event: Event): void => give(event.target as AbortSignal)
    const give = (signal: AbortSignal): void => {
      done()
      reject(signal.reason as Error)
    }
    const done = (): void => {
      for (const signal of signals) signal?.removeEventListener('abort', abort)
    }
    for (const signal of signals) signal?.addEventListener('abort', abort)
    promise.then(resolve, reject).finally(done)
    const aborted = signals.find(signal => signal?.aborted)
    if (aborted) give(aborted)
  })
}

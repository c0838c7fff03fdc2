// SIGINT and SIGTERM: the first asks a command to finish, a second one ends the process with exit code 1.

import { exitCodes } from './exit-codes.ts'

const signals = ['SIGINT', 'SIGTERM'] as const

/** Calls `stop` at the first signal. Returns the way to take the handlers off. */
export function onStopSignal(stop: (signal: NodeJS.Signals) => void): () => void {
  let isStopping = false
  const handle = (signal: NodeJS.Signals): void => {
    if (isStopping) reallyExit(exitCodes.error)
    isStopping = true
    stop(signal)
  }
  for (const signal of signals) process.on(signal, handle)
  return () => {
    for (const signal of signals) process.off(signal, handle)
  }
}

/** Ends at once: exit hooks may wait for the store's native thread, which is what a second signal does not want to wait for. */
function reallyExit(code: number): never {
  return (process as unknown as { reallyExit(code: number): never }).reallyExit(code)
}

// A loglet whose appends take as long as the test says: acks of one loglet stay in order, those of several do not. Built over a real
// one, so the contract still holds.

import type { Entry, Loglet, Position } from '../../loglets/contract.ts'

export interface Gate {
  readonly loglet: Loglet
  /** Appends that were started and not let through yet. */
  readonly waiting: () => number
  /** Lets the oldest append through; false when none waits. */
  readonly step: () => boolean
  /** From now on nothing waits. */
  readonly open: () => void
}

/** Appends are written at once, and acked when the gate lets them. */
export function gated(inner: Loglet): Gate {
  const held: (() => void)[] = []
  let opened = false
  const append = async (entry: Entry): Promise<Position> => {
    const written = inner.append(entry)
    written.catch(() => {})
    if (!opened) await new Promise<void>(resolve => held.push(resolve))
    return written
  }
  const step = (): boolean => {
    const next = held.shift()
    next?.()
    return next !== undefined
  }
  return {
    loglet: new Proxy(inner, {
      get: (target, key) => {
        if (key === 'append') return append
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      },
    }),
    waiting: () => held.length,
    step,
    open: () => {
      opened = true
      while (step());
    },
  }
}

/** Ends the current turn of the event loop: promises settle as far as they can. */
export const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

// Proposes moves: batches that are put elsewhere, in small portions, so that requests of clients do not wait behind them.

import type { Command, Decision, Move } from '../state/commands.ts'

export interface MoverOptions {
  readonly propose: (command: Command) => Promise<Decision>
  /** Runs work while nothing is appended to a loglet that forgets, or not at all. @throws THROTTLED */
  readonly whileDurable: <T>(work: () => Promise<T>) => Promise<T>
}

const portionBytesMax = 256 << 10
const portionMovesMax = 500

/** @returns how many batches were where they were expected */
export async function proposeMoves(
  { propose, whileDurable }: MoverOptions,
  moves: readonly Move[],
): Promise<number> {
  const decision = await whileDurable(() => propose({ type: 'relocate', moves }))
  return decision.ok ? Number(decision.result?.moved ?? 0) : 0
}

/** Cuts a stream of items into portions for one command each. */
export class Portion<T> {
  items: T[] = []
  bytes = 0

  /** @returns whether the portion is full now */
  add(item: T, bytes: number): boolean {
    this.items.push(item)
    this.bytes += bytes
    return this.bytes >= portionBytesMax || this.items.length >= portionMovesMax
  }

  take(): T[] {
    const { items } = this
    this.items = []
    this.bytes = 0
    return items
  }
}

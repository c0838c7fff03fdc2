// Comparing the states of brokers that play the same log (DESIGN 5.2, invariant 8): each notes its hash at every so many positions, tells the
// newest note in its stamps, and compares what others tell with its own. Notes are taken at positions that all brokers pass alike.

/** Positions between two notes. */
export const hashCheckEvery = 1024
const notesMax = 256

export interface HashNote {
  /** Number of the note: the state once position `at * hashCheckEvery` was passed. */
  readonly at: number
  readonly hash: string
}

export class HashChecks {
  private readonly notes = new Map<number, string>()
  private newest: HashNote | undefined
  private passed: number

  constructor(applied: number) {
    this.passed = Math.floor(applied / hashCheckEvery)
  }

  /** To be called after each step that moved the applied position. */
  note(applied: number, hash: () => string): void {
    const at = Math.floor(applied / hashCheckEvery)
    if (at === this.passed) return
    this.passed = at
    this.newest = { at, hash: hash() }
    this.notes.set(at, this.newest.hash)
    const [oldest] = this.notes.keys()
    if (this.notes.size > notesMax && oldest !== undefined) this.notes.delete(oldest)
  }

  get last(): HashNote | undefined {
    return this.newest
  }

  /** False when this broker noted something else there. */
  agrees({ at, hash }: HashNote): boolean {
    const own = this.notes.get(at)
    return own === undefined || own === hash
  }
}

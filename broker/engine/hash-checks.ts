// Comparing the states of brokers that play the same log (DESIGN 5.2, invariant 8): each notes its hash at every so many positions, tells the
// newest note in its stamps, and compares what others tell with its own. Notes are taken at positions that all brokers pass alike.
//
// A broker that finds itself apart from most must stop, and so must every one of a tie; one that most agree with goes on.

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
  /** Sessions whose last comparable note was the same as here. */
  private readonly agreeing = new Map<number, boolean>()

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

  /**
   * What another session told. `live`: all sessions but those of this broker, the one that told included.
   * @returns whether it is the same here, and whether this broker has to stop because as many or more differ as agree
   */
  hear(
    { at, hash }: HashNote,
    session: number,
    live: Iterable<number>,
  ): { readonly same: boolean; readonly outvoted: boolean } {
    const own = this.notes.get(at)
    if (own === undefined) return { same: true, outvoted: false }
    this.agreeing.set(session, own === hash)
    const others = new Set(live)
    for (const id of this.agreeing.keys()) if (!others.has(id)) this.agreeing.delete(id)
    const differing = [...this.agreeing.values()].filter(agrees => !agrees).length
    const brokers = others.size + 1
    const isTold = this.agreeing.size === others.size
    const outvoted = differing * 2 > brokers || (isTold && differing * 2 === brokers)
    return { same: own === hash, outvoted }
  }
}

// The world that a target gives its inputs to: made for the first one, and made anew after so many, because it grows with what it is given.

import type { Target } from './target.ts'

export interface World {
  /** @returns whether the input was taken @throws a finding */
  give(input: Uint8Array): boolean | Promise<boolean>
  close(): Promise<void>
}

export class WorldHolder<W extends World> {
  private current: W | undefined
  private readonly open: () => Promise<W>
  private readonly inputsMax: number
  private given = 0

  /** `inputsMax`: of one world; it may get some more, until the next look. */
  constructor(open: () => Promise<W>, inputsMax: number) {
    this.open = open
    this.inputsMax = inputsMax
  }

  /** The part of a target that has such a world; `look` is what has to hold of the world from time to time. */
  target(look: (world: W) => void = () => {}): Pick<Target, 'run' | 'check'> & {
    readonly close: () => Promise<void>
  } {
    return {
      run: async input => {
        this.current ??= await this.open()
        this.given++
        return this.current.give(Uint8Array.from(input))
      },
      check: async () => {
        if (this.current !== undefined) look(this.current)
        if (this.given >= this.inputsMax) await this.close()
      },
      close: () => this.close(),
    }
  }

  private async close(): Promise<void> {
    const old = this.current
    this.current = undefined
    this.given = 0
    await old?.close()
  }
}

// How far something has come, on stderr, while a person looks: nothing is printed where stderr is no terminal.

import { note } from './output.ts'

const everyMs = 200
const width = 30

/** `end` leaves the line empty. */
export interface Progress {
  show(what: string, done: number, all: number): void
  end(): void
}

/** A bar that is redrawn now and then. */
export function progressBar(isShown: boolean): Progress {
  let last = Number.NEGATIVE_INFINITY
  return {
    show: (what, done, all) => {
      const now = performance.now()
      if (!isShown || now - last < everyMs) return
      last = now
      const share = all === 0 ? 1 : Math.min(1, done / all)
      const full = Math.round(share * width)
      const bar = '#'.repeat(full).padEnd(width, '.')
      note(`\r${what} [${bar}] ${String(Math.floor(share * 100)).padStart(3)} %`)
    },
    end: () => {
      if (last > Number.NEGATIVE_INFINITY) note('\r\u001b[2K')
    },
  }
}

// What every view has: the client, the numbers, and the way to end what it has begun.

import type { Client } from '../../client/index.ts'
import { fill, h } from './dom.ts'
import type { Stats } from './stats.ts'

export interface ViewContext {
  readonly client: Client
  readonly stats: Stats
  /** Where the view is shown. */
  readonly main: HTMLElement
  /** Fires when another view is shown. */
  readonly signal: AbortSignal
}

/** `rest`: what follows the name of the view in the address, decoded. */
export type View = (context: ViewContext, rest: string) => void

/** Does something now and then as long as the view is shown; says what went wrong instead. */
export function repeat(
  { signal }: ViewContext,
  everyMs: number,
  errors: HTMLElement,
  work: () => Promise<void>,
): void {
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await work()
        if (!signal.aborted) fill(errors)
      } catch (error) {
        if (!signal.aborted) showError(errors, error)
      }
      await new Promise(resolve => setTimeout(resolve, everyMs))
    }
  }
  void run()
}

export function showError(element: HTMLElement, error: unknown): void {
  const { code, message, hint } = error as { code?: string; message: string; hint?: string }
  fill(
    element,
    h('p', { class: 'bad', role: 'alert' }, code === undefined ? message : `${code}: ${message}`),
    hint !== undefined && h('p', { class: 'dim' }, hint),
  )
}

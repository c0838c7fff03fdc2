// What a scenario is: something to measure and the section of the report that tells it. main.ts runs them, report/page.ts shows them.

import type { BenchContext } from './context.ts'

/** `tiny` is for tests: seconds, and figures that mean nothing. */
export type Mode = 'tiny' | 'short' | 'full'

export const groups = ['switch', 'paper', 'limits', 'peers', 'scale'] as const
export type Group = (typeof groups)[number]

/** A row of the table at the top of the report. */
export interface Headline {
  readonly what: string
  readonly value: string
  /** What it is to be held against. */
  readonly beside: string
}

export interface Section {
  /** Markdown below the section's heading. `{plot:NAME}` in a line of its own stands for a plot. */
  readonly body: string
  readonly plots: readonly Plot[]
  readonly headlines: readonly Headline[]
}

export interface Plot {
  /** Of the file, without the scenario's name. */
  readonly name: string
  readonly alt: string
  readonly svg: string
}

export interface Scenario<P = unknown, R = unknown> {
  readonly name: string
  readonly group: Group
  readonly title: string
  /** What it shows, in a sentence or two for somebody who has never seen the project. */
  readonly shows: string
  readonly params: Readonly<Record<Mode, P>>
  /** About how long a run takes. */
  seconds(params: P): number
  /** @returns what JSON can hold */
  run(params: P, context: BenchContext): Promise<R>
  /** Pure: the same result gives the same section. */
  section(result: R, params: P): Section
}

/** Forgets the types of parameters and result, which only the scenario itself looks into. */
export function scenario<P, R>(of: Scenario<P, R>): Scenario {
  return of
}

/** A run was not possible here; the reason goes into the report. */
export class NotRunError extends Error {
  override readonly name = 'NotRunError'
}

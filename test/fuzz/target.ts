// What is fuzzed: a decoder, inputs to begin with, a way to make more, and what must hold of every input.

import type { FuzzRandom } from './random.ts'

export interface Target {
  readonly name: string
  /** Valid inputs and interesting ones: mutation begins with them. */
  readonly seeds: () => readonly Uint8Array[] | Promise<readonly Uint8Array[]>
  /** An input made from the grammar: half of the inputs come from here, and a third of those are mutated. */
  readonly generate?: (random: FuzzRandom) => Uint8Array
  /** Corrects checksums in place that would stop nearly every mutated input; used for most of them. */
  readonly reseal?: (input: Uint8Array, random: FuzzRandom) => void
  /**
   * Gives the input to the decoder and checks what came out. The input is valid until it returns (or its promise resolves).
   * @returns whether the decoder took it; a refusal that is in order is false
   * @throws a finding: an error of the wrong class, or a rule that does not hold
   */
  readonly run: (input: Uint8Array) => boolean | Promise<boolean>
  /** Inputs longer than this are cut. Default 4096. */
  readonly bytesMax?: number
  /** Looked at once every so many executions: what must not have grown or changed. @throws a finding */
  readonly check?: () => void | Promise<void>
  readonly close?: () => Promise<void>
}

/** A rule that did not hold. */
export class Finding extends Error {
  override readonly name = 'Finding'
  /** The input at fault, when it is not the last one. */
  readonly input: Uint8Array | undefined

  constructor(message: string, options: { cause?: unknown; input?: Uint8Array | undefined } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.input = options.input
  }
}

/** @throws Finding */
export function must(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new Finding(rule)
}

/** False when `error` has one of the codes; else it is a finding. */
export function refusedWith(error: unknown, codes: ReadonlySet<string>): false {
  if (codes.has((error as { code?: string }).code ?? '')) return false
  throw error
}

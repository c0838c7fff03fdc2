// One span that is under way, and the duration that is measured with it. Whoever began it ends it once, with or without an error.

import { asLogloomError } from '../failures.ts'
import type { SealMet } from '../records.ts'
import { type Attributes, type Span, statusError } from './api.ts'
import type { Measures } from './measures.ts'

export class Operation {
  readonly span: Span
  readonly #attributes: Attributes
  readonly #measures: Measures | undefined
  readonly #startMs: number
  readonly #nowMs: () => number
  readonly #count: number

  constructor(
    span: Span,
    attributes: Attributes,
    o: {
      readonly measures: Measures | undefined
      readonly nowMs: () => number
      readonly startMs?: number | undefined
      /** Records that it is about. */
      readonly count?: number
    },
  ) {
    this.span = span
    this.#attributes = attributes
    this.#measures = o.measures
    this.#nowMs = o.nowMs
    this.#startMs = o.startMs ?? o.nowMs()
    this.#count = o.count ?? 1
  }

  /** A switch of the log held it up, if one did. */
  sealed(met: SealMet | undefined): void {
    if (met === undefined) return
    this.span.addEvent('sealed_and_retried', {
      'logloom.segment.index': met.index,
      'logloom.pause_ms': met.pauseMs,
    })
  }

  end(): void {
    this.span.end()
    this.#measure()
  }

  fail(error: unknown): void {
    const { code, message } = asLogloomError(error)
    const isOurs = (error as { code?: unknown } | null)?.code === code
    const type = isOurs ? code : error instanceof Error ? error.name : 'Error'
    this.#attributes['error.type'] = type
    this.span.setAttribute('error.type', type)
    this.span.recordException(error instanceof Error ? error : new Error(String(error)))
    this.span.setStatus({ code: statusError, message })
    this.end()
  }

  #measure(): void {
    const seconds = (this.#nowMs() - this.#startMs) / 1000
    this.#measures?.ended(this.#attributes, seconds, this.#count)
  }
}

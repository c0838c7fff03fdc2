// What is used of the application's OpenTelemetry. We depend on nothing of it: the types are those few methods that are called, and
// `import * as opentelemetry from '@opentelemetry/api'` has them.

export type Attributes = Record<string, string | number | boolean>

/** What is used of a span. */
export interface Span {
  setAttribute(name: string, value: string | number | boolean): unknown
  addEvent(name: string, attributes: Attributes): unknown
  recordException(error: Error): void
  setStatus(status: { code: number; message?: string }): unknown
  end(): void
}

export interface SpanOptions {
  readonly kind: number
  readonly attributes: Attributes
  readonly links?: { context: never }[]
  readonly startTime?: Date
}

/** What is used of `@opentelemetry/api`, any version 1. */
export interface TracingApi {
  readonly trace: {
    getTracer(name: string): {
      startSpan(name: string, options: SpanOptions, context?: never): Span
    }
    setSpan(context: never, span: never): unknown
    getSpanContext(context: never): unknown
  }
  readonly context: {
    active(): unknown
    with(context: never, work: () => unknown): unknown
  }
  readonly propagation: {
    inject(context: never, carrier: Record<string, string>): void
    extract(context: never, carrier: Record<string, string>): unknown
  }
  readonly ROOT_CONTEXT: unknown
}

/** What is used of a meter of `@opentelemetry/api` 1.3 or later. */
export interface TracingMeter {
  createCounter(
    name: string,
    options: { description: string; unit: string },
  ): { add(value: number, attributes: Attributes): void }
  createHistogram(
    name: string,
    options: {
      description: string
      unit: string
      advice: { explicitBucketBoundaries: number[] }
    },
  ): { record(value: number, attributes: Attributes): void }
}

export interface TracingOptions {
  /** `import * as opentelemetry from '@opentelemetry/api'` */
  readonly api: TracingApi
  /** Whether the span of a handler is a child of the span that sent the record (default), or begins a trace of its own with a link to it. */
  readonly process?: 'parent' | 'link'
  /** `opentelemetry.metrics.getMeter('logloom')`: counts and durations as in docs/tracing.md. Default: none. */
  readonly meter?: TracingMeter
}

/** Numbers of OpenTelemetry's SpanKind. */
export const spanKinds = { internal: 0, client: 2, producer: 3, consumer: 4 } as const
/** Of its SpanStatusCode. */
export const statusError = 2

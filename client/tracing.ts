// Spans of the application's OpenTelemetry, if it gives us its API: one for each record that is sent, one for each that a handler works on, and the W3C
// `traceparent` header that ties the two together. Names as in OpenTelemetry's messaging conventions. We depend on nothing of it: the types are those few
// methods that are called, and `import * as opentelemetry from '@opentelemetry/api'` has them.

import type { HeadersInput } from '../wire/index.ts'
import { asLogloomError } from './failures.ts'
import type { Ack } from './records.ts'

type Attributes = Record<string, string | number | boolean>

/** What is used of a span. */
interface Span {
  setAttribute(name: string, value: string | number | boolean): unknown
  recordException(error: Error): void
  setStatus(status: { code: number; message?: string }): unknown
  end(): void
}

interface SpanOptions {
  readonly kind: number
  readonly attributes: Attributes
  readonly links?: { context: never }[]
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

export interface TracingOptions {
  /** `import * as opentelemetry from '@opentelemetry/api'` */
  readonly api: TracingApi
  /** Whether the span of a handler is a child of the span that sent the record (default), or begins a trace of its own with a link to it. */
  readonly process?: 'parent' | 'link'
}

/** A record as a handler gets it. */
interface Handled {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly key: unknown
  readonly value: unknown
  readonly headers: readonly (readonly [string, Uint8Array])[]
}

/** Numbers of OpenTelemetry's SpanKind and SpanStatusCode. */
const kinds = { producer: 3, consumer: 4 } as const
const statusError = 2
const carried = ['traceparent', 'tracestate', 'baggage']

export class Tracing {
  readonly #api: TracingApi
  readonly #options: TracingOptions
  readonly #clientId: string

  constructor(options: TracingOptions, clientId: string) {
    this.#api = options.api
    this.#options = options
    this.#clientId = clientId
  }

  /** Begins the span of a record. @returns the record's headers with those of the trace, and the way to end the span */
  send(
    topic: string,
    { key, value, headers }: { key?: unknown; value?: unknown; headers?: HeadersInput },
  ): { readonly headers: HeadersInput; end(outcome: Promise<Ack>): void } {
    const { context, propagation, trace } = this.#api
    const span = this.#start(
      `send ${topic}`,
      kinds.producer,
      this.#attributes('send', topic, key, value),
    )
    const own = pairsOf(headers)
    const carrier: Record<string, string> = {}
    propagation.inject(trace.setSpan(context.active() as never, span as never) as never, carrier)
    const isOwn = (name: string): boolean => own.some(([known]) => known === name)
    const added = Object.entries(carrier).filter(([name]) => !isOwn(name))
    return {
      headers: [...own, ...added],
      end: outcome => {
        outcome.then(
          ({ partition, offset }) => {
            span.setAttribute('messaging.destination.partition.id', String(partition))
            span.setAttribute('messaging.kafka.offset', offset)
            span.end()
          },
          error => fail(span, error),
        )
      },
    }
  }

  /** A handler that runs in a span of its own for each record. */
  around<R extends Handled>(group: string, handler: (record: R) => unknown) {
    return (record: R): Promise<void> => this.#process(record, group, () => handler(record))
  }

  /** @throws what `work` throws */
  async #process(record: Handled, group: string, work: () => unknown): Promise<void> {
    const api = this.#api
    const { topic, partition, offset, key, value, headers } = record
    const carrier: Record<string, string> = {}
    for (const [name, bytes] of headers)
      if (carried.includes(name)) carrier[name] = new TextDecoder().decode(bytes)
    const sender = api.propagation.extract(api.ROOT_CONTEXT as never, carrier)
    const isChild = this.#options.process !== 'link'
    const context = isChild ? sender : api.context.active()
    const from = api.trace.getSpanContext(sender as never)
    const attributes = {
      ...this.#attributes('process', topic, key, value),
      'messaging.destination.partition.id': String(partition),
      'messaging.kafka.offset': offset,
      'messaging.consumer.group.name': group,
    }
    const links = isChild || from === undefined ? [] : [{ context: from as never }]
    const span = this.#start(`process ${topic}`, kinds.consumer, attributes, { links, context })
    const inside = api.trace.setSpan(context as never, span as never)
    try {
      await api.context.with(inside as never, work)
      span.end()
    } catch (error) {
      fail(span, error)
      throw error
    }
  }

  #start(
    name: string,
    kind: number,
    attributes: Attributes,
    { links, context }: { links?: { context: never }[]; context?: unknown } = {},
  ): Span {
    const options = { kind, attributes, ...(links === undefined ? {} : { links }) }
    const tracer = this.#api.trace.getTracer('logloom')
    return context === undefined
      ? tracer.startSpan(name, options)
      : tracer.startSpan(name, options, context as never)
  }

  #attributes(operation: string, topic: string, key: unknown, value: unknown): Attributes {
    return {
      'messaging.system': 'logloom',
      'messaging.operation.name': operation,
      'messaging.operation.type': operation,
      'messaging.destination.name': topic,
      'messaging.client.id': this.#clientId,
      ...(typeof key === 'string' ? { 'messaging.kafka.message.key': key } : {}),
      ...(value === null ? { 'messaging.kafka.message.tombstone': true } : {}),
    }
  }
}

function pairsOf(headers: HeadersInput | undefined): (readonly [string, string | Uint8Array])[] {
  if (headers === undefined) return []
  return Array.isArray(headers)
    ? [...(headers as readonly (readonly [string, string | Uint8Array])[])]
    : Object.entries(headers as Readonly<Record<string, string | Uint8Array>>)
}

function fail(span: Span, error: unknown): void {
  const { code, message } = asLogloomError(error)
  const isOurs = (error as { code?: unknown } | null)?.code === code
  const name = error instanceof Error ? error.name : 'Error'
  span.setAttribute('error.type', isOurs ? code : name)
  span.recordException(error instanceof Error ? error : new Error(String(error)))
  span.setStatus({ code: statusError, message })
  span.end()
}

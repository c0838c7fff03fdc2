// Spans of the application's OpenTelemetry, if it gives us its API, and the W3C `traceparent` header that ties those of sender and receiver together
// (docs/tracing.md). Names as in OpenTelemetry's messaging conventions. Nothing here runs where nobody asked for it.

import type { HeadersInput } from '../../wire/index.ts'
import type { ClientClock } from '../clock.ts'
import type { Ack } from '../records.ts'
import { type Attributes, type SpanOptions, spanKinds, type TracingOptions } from './api.ts'
import { Measures } from './measures.ts'
import { Operation } from './operation.ts'

/** A record as a handler gets it. */
interface Handled {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly key: unknown
  readonly value: unknown
  readonly headers: readonly (readonly [string, Uint8Array])[]
}

/** Records of one partition that are handed out together; never none. */
interface HandedOut {
  /** None for those of a reader. */
  readonly group?: string
  readonly records: readonly Handled[]
}

const carried = ['traceparent', 'tracestate', 'baggage']
/** As many as OpenTelemetry keeps by default. */
const linksMax = 128

export class Tracing {
  readonly #options: TracingOptions
  readonly #clientId: string
  readonly #clock: ClientClock
  readonly #measures: Measures | undefined

  constructor(options: TracingOptions, clientId: string, clock: ClientClock) {
    this.#options = options
    this.#clientId = clientId
    this.#clock = clock
    this.#measures = options.meter && new Measures(options.meter)
  }

  /** Begins the span of a record. @returns the record's headers with those of the trace, and the way to end the span */
  send(
    topic: string,
    { key, value, headers }: { key?: unknown; value?: unknown; headers?: HeadersInput },
  ): { readonly headers: HeadersInput; end(outcome: Promise<Ack>): void } {
    const operation = this.#begin(`send ${topic}`, spanKinds.producer, {
      ...this.#attributes('send', 'send', topic),
      ...recordAttributes(key, value),
    })
    return {
      headers: withCarrier(headers, this.#carrierOf(operation)),
      end: outcome => {
        outcome.then(
          ({ partition, offset, sealedAndRetried }) => {
            operation.span.setAttribute('messaging.destination.partition.id', String(partition))
            operation.span.setAttribute('messaging.kafka.offset', offset)
            operation.sealed(sealedAndRetried)
            operation.end()
          },
          error => operation.fail(error),
        )
      },
    }
  }

  /**
   * Begins the span of records that are sent as one unit: all of them carry it. @returns the headers of a record with those of the trace, and the way to
   * end the span
   */
  sendUnit(topics: readonly string[]): {
    headersOf(headers: HeadersInput | undefined): HeadersInput
    end(outcome: Promise<readonly Ack[]>): void
  } {
    const [topic] = new Set(topics).size === 1 ? topics : []
    const operation = this.#begin(
      named('send', topic),
      spanKinds.producer,
      {
        ...this.#attributes('send', 'send', topic),
        'messaging.batch.message_count': topics.length,
      },
      { count: topics.length },
    )
    const carrier = this.#carrierOf(operation)
    return {
      headersOf: headers => withCarrier(headers, carrier),
      end: outcome => {
        outcome.then(
          ([first]) => {
            operation.sealed(first?.sealedAndRetried)
            operation.end()
          },
          error => operation.fail(error),
        )
      },
    }
  }

  /** A handler that runs in a span of its own for each record. */
  around<R extends Handled>(group: string, handler: (record: R) => unknown) {
    return (record: R): Promise<void> => this.#process(record, group, () => handler(record))
  }

  /** The application asks for records. @returns what to call once it has them */
  receiving(): (handed: HandedOut) => void {
    const [startTime, startMs] = [new Date(this.#clock.wallMs()), this.#clock.nowMs()]
    return ({ group, records }) => {
      const [first] = records as [Handled]
      const attributes = this.#batchAttributes('receive', group, records)
      const links = this.#linksTo(records)
      const name = `receive ${first.topic}`
      this.#begin(name, spanKinds.consumer, attributes, { links, startTime, startMs }).end()
      this.#measures?.consumed(first.topic, group, records.length)
    }
  }

  /** The application works on records that it has asked for. @returns what ends the span: whether that went well is not known here */
  working({ group, records }: HandedOut): () => void {
    const [first] = records as [Handled]
    const attributes = this.#batchAttributes('process', group, records)
    const links = this.#linksTo(records)
    const operation = this.#begin(`process ${first.topic}`, spanKinds.consumer, attributes, {
      links,
    })
    return () => operation.end()
  }

  /** Runs `work`, which tells the broker what became of records, in a span. @throws what it throws */
  async settle<R>(
    operation: 'commit' | 'settle',
    group: string,
    about: readonly { readonly topic: string; readonly partition: number }[],
    work: () => Promise<R>,
  ): Promise<R> {
    const topics = new Set(about.map(({ topic }) => topic))
    const partitions = new Set(about.map(({ partition }) => partition))
    const [topic] = topics.size === 1 ? topics : []
    const [partition] = topics.size === 1 && partitions.size === 1 ? partitions : []
    const begun = this.#begin(named(operation, topic), spanKinds.client, {
      ...this.#attributes(operation, 'settle', topic),
      'messaging.consumer.group.name': group,
      ...(partition !== undefined && { 'messaging.destination.partition.id': String(partition) }),
      ...(operation === 'settle' && { 'messaging.batch.message_count': about.length }),
    })
    return this.#inside(begun, work)
  }

  /** Runs `work` in a span that holds what is done in it. @throws what it throws */
  transaction<R>(work: () => Promise<R>): Promise<R> {
    const attributes = {
      'messaging.system': 'logloom',
      'messaging.client.id': this.#clientId,
    }
    const options = { kind: spanKinds.internal, attributes }
    const span = this.#options.api.trace.getTracer('logloom').startSpan('transaction', options)
    // No operation of the conventions: there is nothing to measure.
    const begun = new Operation(span, attributes, { measures: undefined, nowMs: () => 0 })
    return this.#inside(begun, work)
  }

  /** @throws what `work` throws */
  #process(record: Handled, group: string, work: () => unknown): Promise<void> {
    const { api, process } = this.#options
    const sender = this.#senderOf(record)
    const isChild = process !== 'link'
    const context = isChild ? sender : api.context.active()
    const { topic, partition, offset, key, value } = record
    const attributes = {
      ...this.#attributes('process', 'process', topic),
      ...recordAttributes(key, value),
      'messaging.destination.partition.id': String(partition),
      'messaging.kafka.offset': offset,
      'messaging.consumer.group.name': group,
    }
    const links = isChild ? [] : this.#linksTo([record])
    const more = { links, context }
    const begun = this.#begin(`process ${topic}`, spanKinds.consumer, attributes, more)
    this.#measures?.consumed(topic, group, 1)
    return this.#inside(begun, async () => void (await work()), context)
  }

  async #inside<R>(begun: Operation, work: () => Promise<R>, parent?: unknown): Promise<R> {
    const { context, trace } = this.#options.api
    const outside = parent ?? context.active()
    const inside = trace.setSpan(outside as never, begun.span as never)
    try {
      const result = (await context.with(inside as never, work)) as R
      begun.end()
      return result
    } catch (error) {
      begun.fail(error)
      throw error
    }
  }

  #begin(
    name: string,
    kind: number,
    attributes: Attributes,
    {
      context,
      startMs,
      count,
      ...more
    }: Pick<SpanOptions, 'links' | 'startTime'> & {
      readonly context?: unknown
      readonly startMs?: number
      readonly count?: number
    } = {},
  ): Operation {
    const options = { kind, attributes, ...more }
    const tracer = this.#options.api.trace.getTracer('logloom')
    const span =
      context === undefined
        ? tracer.startSpan(name, options)
        : tracer.startSpan(name, options, context as never)
    return new Operation(span, attributes, {
      measures: this.#measures,
      nowMs: () => this.#clock.nowMs(),
      startMs,
      ...(count !== undefined && { count }),
    })
  }

  #carrierOf({ span }: Operation): readonly (readonly [string, string])[] {
    const { context, propagation, trace } = this.#options.api
    const carrier: Record<string, string> = {}
    propagation.inject(trace.setSpan(context.active() as never, span as never) as never, carrier)
    return Object.entries(carrier)
  }

  /** The context that a record carries. */
  #senderOf({ headers }: Handled): unknown {
    const { propagation, ROOT_CONTEXT } = this.#options.api
    const carrier: Record<string, string> = {}
    for (const [name, bytes] of headers)
      if (carried.includes(name)) carrier[name] = new TextDecoder().decode(bytes)
    return propagation.extract(ROOT_CONTEXT as never, carrier)
  }

  /** To the spans that sent the records; those of one unit have one. */
  #linksTo(records: readonly Handled[]): { context: never }[] {
    const links = new Map<string, { context: never }>()
    for (const record of records) {
      const context = this.#options.api.trace.getSpanContext(this.#senderOf(record) as never)
      const { spanId } = (context ?? {}) as { spanId?: string }
      if (spanId !== undefined) links.set(spanId, { context: context as never })
      if (links.size === linksMax) break
    }
    return [...links.values()]
  }

  #batchAttributes(
    operation: 'receive' | 'process',
    group: string | undefined,
    records: readonly Handled[],
  ): Attributes {
    const [{ topic, partition, offset }] = records as [Handled]
    return {
      ...this.#attributes(operation, operation, topic),
      'messaging.destination.partition.id': String(partition),
      'messaging.kafka.offset': offset,
      ...(group !== undefined && { 'messaging.consumer.group.name': group }),
      'messaging.batch.message_count': records.length,
    }
  }

  #attributes(operation: string, type: string, topic: string | undefined): Attributes {
    return {
      'messaging.system': 'logloom',
      'messaging.operation.name': operation,
      'messaging.operation.type': type,
      'messaging.client.id': this.#clientId,
      ...(topic !== undefined && { 'messaging.destination.name': topic }),
    }
  }
}

const named = (operation: string, topic: string | undefined): string =>
  topic === undefined ? operation : `${operation} ${topic}`

function recordAttributes(key: unknown, value: unknown): Attributes {
  return {
    ...(typeof key === 'string' ? { 'messaging.kafka.message.key': key } : {}),
    ...(value === null ? { 'messaging.kafka.message.tombstone': true } : {}),
  }
}

/** What the application wrote itself stays. */
function withCarrier(
  headers: HeadersInput | undefined,
  carrier: readonly (readonly [string, string])[],
): HeadersInput {
  const own = pairsOf(headers)
  return [...own, ...carrier.filter(([name]) => !own.some(([known]) => known === name))]
}

function pairsOf(headers: HeadersInput | undefined): (readonly [string, string | Uint8Array])[] {
  if (headers === undefined) return []
  return Array.isArray(headers)
    ? [...(headers as readonly (readonly [string, string | Uint8Array])[])]
    : Object.entries(headers as Readonly<Record<string, string | Uint8Array>>)
}

// OpenTelemetry's client metrics of messaging, for applications that give a meter. Names, units and bounds are those of its semantic conventions; attributes are
// few and of few values: no key, no partition, no offset.

import type { Attributes, TracingMeter } from './api.ts'

/** Attributes of spans that are attributes of metrics too. */
const kept = [
  'messaging.system',
  'messaging.operation.name',
  'messaging.operation.type',
  'messaging.destination.name',
  'messaging.consumer.group.name',
  'error.type',
]
/** Seconds. */
const bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

export class Measures {
  readonly #operations: ReturnType<TracingMeter['createHistogram']>
  readonly #processing: ReturnType<TracingMeter['createHistogram']>
  readonly #sent: ReturnType<TracingMeter['createCounter']>
  readonly #consumed: ReturnType<TracingMeter['createCounter']>

  constructor(meter: TracingMeter) {
    const duration = (name: string, description: string) =>
      meter.createHistogram(name, {
        description,
        unit: 's',
        advice: { explicitBucketBoundaries: bounds },
      })
    const messages = (name: string, description: string) =>
      meter.createCounter(name, { description, unit: '{message}' })
    this.#operations = duration(
      'messaging.client.operation.duration',
      'Duration of messaging operations of the client.',
    )
    this.#processing = duration('messaging.process.duration', 'Duration of processing records.')
    this.#sent = messages('messaging.client.sent.messages', 'Records that were to be sent.')
    this.#consumed = messages(
      'messaging.client.consumed.messages',
      'Records that the application was given.',
    )
  }

  /** An operation on `count` records has ended. */
  ended(attributes: Attributes, seconds: number, count: number): void {
    const few: Attributes = {}
    for (const name of kept) {
      const value = attributes[name]
      if (value !== undefined) few[name] = value
    }
    const type = attributes['messaging.operation.type']
    if (type === 'process') this.#processing.record(seconds, few)
    else this.#operations.record(seconds, few)
    if (type === 'send') this.#sent.add(count, few)
  }

  consumed(topic: string, group: string | undefined, count: number): void {
    this.#consumed.add(count, {
      'messaging.system': 'logloom',
      'messaging.destination.name': topic,
      ...(group !== undefined && { 'messaging.consumer.group.name': group }),
    })
  }
}

// OpenTelemetry's own SDK, registered as an application does it, with spans and metrics that tests can look at.

import * as opentelemetry from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeEach, expect } from 'vitest'

/** To be called once in a test file. */
export function useOpenTelemetry() {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  opentelemetry.trace.setGlobalTracerProvider(provider)
  opentelemetry.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  opentelemetry.propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  beforeEach(() => exporter.reset())
  afterAll(() => opentelemetry.trace.disable())
  const spans = (): readonly ReadableSpan[] => exporter.getFinishedSpans()
  return {
    tracer: opentelemetry.trace.getTracer('test'),
    spans,
    spanOf: async (name: string): Promise<ReadableSpan> => {
      await expect.poll(() => spans().map(span => span.name)).toContain(name)
      return spans().find(span => span.name === name) as ReadableSpan
    },
  }
}

/** A point of a metric as it was exported. */
export interface Exported {
  readonly attributes: opentelemetry.Attributes
  readonly value: unknown
}

/** A meter, and what it has measured until now. */
export function useMeter() {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE)
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 })
  const provider = new MeterProvider({ readers: [reader] })
  afterAll(() => provider.shutdown())
  return {
    meter: provider.getMeter('logloom'),
    measured: async (): Promise<ReadonlyMap<string, readonly Exported[]>> => {
      exporter.reset()
      await reader.forceFlush()
      const all = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics)
      return new Map(
        all
          .flatMap(({ metrics }) => metrics)
          .map(({ descriptor, dataPoints }) => [descriptor.name, dataPoints]),
      )
    },
  }
}

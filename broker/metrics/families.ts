// How metrics are made: each is read from plain numbers when somebody scrapes, so that nothing stale stays and hot paths never call prom-client.

import { Counter, Gauge, type Registry } from 'prom-client'
import type { Histogram } from '../gateway/stats.ts'
import { SnapshotHistogram } from './snapshot-histogram.ts'

type Rows<L extends string> = Iterable<readonly [Record<L, string>, number]>

/** Rows of a metric without labels. */
export const one = (value: number | undefined): Rows<never> =>
  value === undefined ? [] : [[{}, value]]

export class Families {
  private readonly registry: Registry

  constructor(registry: Registry) {
    this.registry = registry
  }

  gauge<L extends string>(
    name: string,
    help: string,
    labels: readonly L[],
    rows: () => Rows<L>,
  ): void {
    this.table(Gauge, name, help, labels, rows)
  }

  counter<L extends string>(
    name: string,
    help: string,
    labels: readonly L[],
    rows: () => Rows<L>,
  ): void {
    this.table(Counter, name, help, labels, rows)
  }

  /** `fixed`: labels that are the same for all series. */
  histogram(
    name: string,
    help: string,
    label: string | undefined,
    bounds: readonly number[],
    rows: () => Iterable<readonly [string, Histogram]>,
    fixed: Readonly<Record<string, string>> = {},
  ): void {
    this.registry.registerMetric(new SnapshotHistogram({ name, help, label, bounds, fixed }, rows))
  }

  private table<L extends string>(
    Type: typeof Counter<L> | typeof Gauge<L>,
    name: string,
    help: string,
    labelNames: readonly L[],
    rows: () => Rows<L>,
  ): void {
    const metric = new Type({
      name,
      help,
      labelNames: [...labelNames],
      registers: [],
      collect() {
        this.reset()
        // Without labels there is always a series, of 0: only what is known shows.
        if (labelNames.length === 0) this.remove()
        for (const [labels, value] of rows()) this.inc(labels, value)
      },
    })
    this.registry.registerMetric(metric)
  }
}

// A prom-client histogram that is filled at a scrape: its buckets are counted elsewhere, as plain numbers, so that a request costs no call
// into prom-client. The text format asks `getForPromString`, everything else `get`; both give the same.

import { Histogram as PromHistogram } from 'prom-client'
import type { Histogram } from '../gateway/stats.ts'

export interface SnapshotHistogramOptions {
  readonly name: string
  readonly help: string
  /** Name of the label by which rows differ; undefined when there is one row only. */
  readonly label: string | undefined
  readonly bounds: readonly number[]
  /** Labels that all rows share. */
  readonly fixed: Readonly<Record<string, string>>
}

/** A prom-client histogram whose buckets come from elsewhere. */
export class SnapshotHistogram extends PromHistogram {
  private readonly rows: () => Iterable<readonly [string, Histogram]>
  private readonly options: SnapshotHistogramOptions

  constructor(
    options: SnapshotHistogramOptions,
    rows: () => Iterable<readonly [string, Histogram]>,
  ) {
    const { name, help, label, bounds, fixed } = options
    super({
      name,
      help,
      labelNames: [...Object.keys(fixed), ...(label === undefined ? [] : [label])],
      buckets: [...bounds],
      registers: [],
    })
    this.options = options
    this.rows = rows
  }

  override get(): ReturnType<PromHistogram['get']> {
    return Promise.resolve(this.snapshot())
  }

  /** What the text format is made from. */
  getForPromString(): ReturnType<PromHistogram['get']> {
    return Promise.resolve(this.snapshot())
  }

  private snapshot(): Awaited<ReturnType<PromHistogram['get']>> {
    const { name, help, label, bounds, fixed } = this.options
    const values: { metricName: string; labels: Record<string, string | number>; value: number }[] =
      []
    for (const [key, { counts, sum, count: total }] of this.rows()) {
      const labels = { ...fixed, ...(label === undefined ? {} : { [label]: key }) }
      let cumulated = 0
      bounds.forEach((le, i) => {
        cumulated += counts[i] ?? 0
        values.push({ metricName: `${name}_bucket`, labels: { le, ...labels }, value: cumulated })
      })
      values.push({ metricName: `${name}_bucket`, labels: { le: '+Inf', ...labels }, value: total })
      values.push({ metricName: `${name}_sum`, labels, value: sum })
      values.push({ metricName: `${name}_count`, labels, value: total })
    }
    return {
      name,
      help,
      type: 'histogram',
      values,
      aggregator: 'sum',
    } as unknown as Awaited<ReturnType<PromHistogram['get']>>
  }
}

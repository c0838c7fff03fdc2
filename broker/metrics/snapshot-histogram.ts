// A prom-client histogram that is filled at a scrape: its buckets are counted elsewhere, as plain numbers, so that a request costs no call
// into prom-client. The text format asks `getForPromString`, everything else `get`; both give the same.

import { Histogram as PromHistogram } from 'prom-client'
import type { Histogram } from '../gateway/stats.ts'

/** A prom-client histogram whose buckets come from elsewhere. */
export class SnapshotHistogram extends PromHistogram {
  private readonly rows: () => Iterable<readonly [string, Histogram]>
  private readonly label: string | undefined
  private readonly bounds: readonly number[]
  private readonly metricName: string
  private readonly helpText: string

  constructor(
    name: string,
    help: string,
    label: string | undefined,
    bounds: readonly number[],
    rows: () => Iterable<readonly [string, Histogram]>,
  ) {
    super({
      name,
      help,
      labelNames: label === undefined ? [] : [label],
      buckets: [...bounds],
      registers: [],
    })
    this.metricName = name
    this.helpText = help
    this.rows = rows
    this.label = label
    this.bounds = bounds
  }

  override get(): ReturnType<PromHistogram['get']> {
    return Promise.resolve(this.snapshot())
  }

  /** What the text format is made from. */
  getForPromString(): ReturnType<PromHistogram['get']> {
    return Promise.resolve(this.snapshot())
  }

  private snapshot(): Awaited<ReturnType<PromHistogram['get']>> {
    const { metricName: name } = this
    const values: { metricName: string; labels: Record<string, string | number>; value: number }[] =
      []
    for (const [key, { counts, sum, count: total }] of this.rows()) {
      const labels: Record<string, string> = this.label === undefined ? {} : { [this.label]: key }
      let cumulated = 0
      this.bounds.forEach((le, i) => {
        cumulated += counts[i] ?? 0
        values.push({ metricName: `${name}_bucket`, labels: { le, ...labels }, value: cumulated })
      })
      values.push({ metricName: `${name}_bucket`, labels: { le: '+Inf', ...labels }, value: total })
      values.push({ metricName: `${name}_sum`, labels, value: sum })
      values.push({ metricName: `${name}_count`, labels, value: total })
    }
    return {
      name,
      help: this.helpText,
      type: 'histogram',
      values,
      aggregator: 'sum',
    } as unknown as Awaited<ReturnType<PromHistogram['get']>>
  }
}

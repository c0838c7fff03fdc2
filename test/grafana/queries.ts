// What dashboards and rules ask Prometheus.

import { dashboards } from '../../grafana/source/dashboards.ts'
import { reconfigurationsExpr } from '../../grafana/source/panels.ts'
import { alerts, recordings } from '../../grafana/source/rules.ts'

export interface Asked {
  /** Dashboard and panel, or rule. */
  readonly by: string
  readonly expr: string
}

/** Queries of all panels, and the annotation; variables as Grafana would put them in for "All". */
export function panelQueries(): readonly Asked[] {
  // A mark shows for one interval after a switch: whether it did at any time.
  const asked: Asked[] = [
    { by: 'annotation', expr: `count_over_time((${reconfigurationsExpr})[3m:1s])` },
  ]
  for (const [name, { rows, variables }] of Object.entries(dashboards)) {
    for (const { name: label, metric } of variables)
      asked.push({ by: `${name}: variable ${label}`, expr: `count by (${label}) (${metric})` })
    for (const { panels } of rows)
      for (const { title, queries } of panels)
        for (const { expr } of queries) asked.push({ by: `${name}: ${title}`, expr })
  }
  return asked.map(({ by, expr }) => ({ by, expr: filled(expr) }))
}

/** What rules record, what alerts watch, and their whole conditions. */
export function ruleQueries(): readonly Asked[] {
  return [
    ...recordings.flatMap(({ record, expr }) => [
      { by: `rule ${record}`, expr },
      { by: `recorded ${record}`, expr: record },
    ]),
    ...alerts.map(({ name, value }) => ({ by: `alert ${name}`, expr: value })),
  ]
}

export const alertConditions: readonly Asked[] = alerts.map(({ name, value, condition }) => ({
  by: name,
  expr: `${value} ${condition}`,
}))

/** Our own metrics that an expression names, without what Prometheus adds to histograms. */
export function metricsIn(expr: string): readonly string[] {
  const names = expr.match(/\blogloom_[a-z0-9_]+/g) ?? []
  return names.map(name => name.replace(/_(bucket|sum|count)$/, ''))
}

/** Rates over the whole run: what happened in it, a switch say, is in them however slow the machine is. */
function filled(expr: string): string {
  return expr
    .replaceAll('$__rate_interval', '3m')
    .replaceAll('$__interval', '5s')
    .replace(/\$(instance|topic|group)\b/g, '.*')
}

// Pieces of Grafana dashboards: what a panel shows is said once, its place on the page is counted.

export type Unit = 'short' | 's' | 'bytes' | 'Bps' | 'ops' | 'percentunit' | 'reqps' | 'none'

export interface Query {
  readonly expr: string
  readonly legend?: string
  /** The value of now, for tables and single numbers. */
  readonly instant?: boolean
}

export interface Panel {
  readonly type: 'stat' | 'timeseries' | 'table' | 'state-timeline'
  readonly title: string
  /** What it means, and what to do when it looks wrong. */
  readonly description: string
  readonly unit: Unit
  readonly queries: readonly Query[]
  /** Of 24 columns. */
  readonly width: number
  readonly height: number
  readonly stacked?: boolean
  /** Red from here on. */
  readonly redFrom?: number
  /** Red below. */
  readonly redBelow?: number
}

export interface Row {
  readonly title: string
  readonly panels: readonly Panel[]
}

export interface Variable {
  readonly name: 'instance' | 'topic' | 'group'
  /** A metric that has the label. */
  readonly metric: string
}

export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly description: string
  readonly variables: readonly Variable[]
  readonly rows: readonly Row[]
}

/** Reconfigurations of the log, marked in every graph: a segment is open that was not an interval before. */
export const reconfigurationsExpr =
  'max by (loglet_kind) (logloom_log_open_segment_index) > on () group_left () max(logloom_log_open_segment_index offset $__interval)'

type Options = Partial<Omit<Panel, 'title' | 'description' | 'unit' | 'queries' | 'type'>>

const asQueries = (queries: string | readonly Query[]): readonly Query[] =>
  typeof queries === 'string' ? [{ expr: queries }] : queries

export function graph(
  title: string,
  description: string,
  unit: Unit,
  queries: string | readonly Query[],
  options: Options = {},
): Panel {
  const base = { type: 'timeseries', title, description, unit, width: 8, height: 8 } as const
  return { ...base, queries: asQueries(queries), ...options }
}

export function stat(
  title: string,
  description: string,
  unit: Unit,
  expr: string,
  options: Options = {},
): Panel {
  const queries = [{ expr, instant: true }]
  return { type: 'stat', title, description, unit, queries, width: 3, height: 4, ...options }
}

export function table(
  title: string,
  description: string,
  queries: readonly Query[],
  options: Options = {},
): Panel {
  const instant = queries.map(query => ({ ...query, instant: true }))
  const base = { type: 'table', title, description, unit: 'short', width: 24, height: 9 } as const
  return { ...base, queries: instant, ...options }
}

/** `q` of a histogram, over all series that differ in nothing of `by`. */
export function quantile(q: number, metric: string, by = '', selector = ''): string {
  const labels = by === '' ? 'le' : `le, ${by}`
  return `histogram_quantile(${q}, sum by (${labels}) (rate(${metric}_bucket{instance=~"$instance"${selector}}[$__rate_interval])))`
}

export function rate(metric: string, by = '', selector = ''): string {
  const sum = by === '' ? 'sum' : `sum by (${by})`
  return `${sum} (rate(${metric}{instance=~"$instance"${selector}}[$__rate_interval]))`
}

const datasource = { type: 'prometheus', uid: '${datasource}' }

/** The model that Grafana reads. */
export function modelOf(dashboard: Dashboard): object {
  const { uid, title, description, variables, rows } = dashboard
  return {
    uid,
    title,
    description,
    tags: ['logloom'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '10s',
    time: { from: 'now-30m', to: 'now' },
    timezone: 'browser',
    annotations: { list: [annotation()] },
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
        ...variables.map(templateOf),
      ],
    },
    links: [
      {
        title: 'Logloom',
        type: 'dashboards',
        tags: ['logloom'],
        asDropdown: true,
        includeVars: true,
        keepTime: true,
      },
    ],
    panels: layOut(rows),
  }
}

function annotation(): object {
  return {
    name: 'Reconfigurations',
    enable: true,
    iconColor: 'purple',
    datasource,
    expr: reconfigurationsExpr,
    titleFormat: 'now {{loglet_kind}}',
    textFormat: 'segment {{value}}',
    step: '10s',
  }
}

function templateOf({ name, metric }: Variable): object {
  const query = `label_values(${metric}, ${name})`
  return {
    name,
    type: 'query',
    datasource,
    query: { query, refId: name },
    definition: query,
    refresh: 2,
    sort: 1,
    includeAll: true,
    multi: true,
    allValue: '.*',
    current: { text: 'All', value: '$__all' },
  }
}

function layOut(rows: readonly Row[]): readonly object[] {
  const panels: object[] = []
  let id = 1
  let y = 0
  for (const { title, panels: ofRow } of rows) {
    panels.push({
      id: id++,
      type: 'row',
      title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y: y++, w: 24, h: 1 },
    })
    let x = 0
    let height = 0
    for (const panel of ofRow) {
      if (x + panel.width > 24) {
        y += height
        x = 0
        height = 0
      }
      const gridPos = { x, y, w: panel.width, h: panel.height }
      panels.push({ id: id++, ...panelModel(panel), gridPos })
      x += panel.width
      height = Math.max(height, panel.height)
    }
    y += height
  }
  return panels
}

function panelModel(panel: Panel): object {
  const { type, title, description, unit, queries, stacked, redFrom, redBelow } = panel
  return {
    type,
    title,
    description,
    datasource,
    targets: queries.map(({ expr, legend, instant }, i) => ({
      refId: String.fromCharCode(65 + i),
      datasource,
      expr,
      legendFormat: legend ?? '__auto',
      ...(instant === true ? { instant: true, range: false } : { range: true }),
      ...(type === 'table' ? { format: 'table' } : {}),
    })),
    fieldConfig: {
      defaults: {
        unit,
        ...(type === 'timeseries' ? { min: 0 } : {}),
        thresholds: { mode: 'absolute', steps: steps(redFrom, redBelow) },
        ...(type === 'timeseries'
          ? {
              custom: {
                lineWidth: 1,
                fillOpacity: stacked === true ? 30 : 8,
                showPoints: 'never',
                stacking: { mode: stacked === true ? 'normal' : 'none' },
              },
            }
          : {}),
      },
      overrides: [],
    },
    options: optionsOf(type),
    ...(type === 'table' ? { transformations: [{ id: 'merge', options: {} }] } : {}),
  }
}

function steps(redFrom: number | undefined, redBelow: number | undefined): readonly object[] {
  if (redBelow !== undefined)
    return [
      { color: 'red', value: null },
      { color: 'green', value: redBelow },
    ]
  const base = { color: 'green', value: null }
  return redFrom === undefined ? [base] : [base, { color: 'red', value: redFrom }]
}

function optionsOf(type: Panel['type']): object {
  if (type === 'timeseries')
    return {
      legend: { displayMode: 'list', placement: 'bottom' },
      tooltip: { mode: 'multi', sort: 'desc' },
    }
  if (type === 'stat')
    return { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'value', graphMode: 'area' }
  if (type === 'state-timeline') return { mergeValues: true, showValue: 'auto' }
  return { showHeader: true }
}

// An SVG of something over time: throughput above, latency below, and what happened as vertical lines.

import { fixed, frame, legend, line, linearTicks, text, width } from './svg.ts'
import { tickText } from './text.ts'

export interface Series {
  readonly name: string
  /** One for each moment; undefined where nothing was measured. */
  readonly values: readonly (number | undefined)[]
}

export interface Panel {
  /** With the unit. */
  readonly title: string
  readonly series: readonly Series[]
}

export interface TimelineEvent {
  readonly second: number
  readonly label: string
}

export interface Timeline {
  readonly title: string
  /** Seconds between two moments. */
  readonly step: number
  readonly panels: readonly Panel[]
  readonly events: readonly TimelineEvent[]
}

const panelHeight = 170
const [left, right, top, gap] = [78, 16, 76, 56]
/** One below the other, so that neighbours do not cover each other. */
const labelRows = 2

export function timelineSvg({ title, step, panels, events }: Timeline): string {
  const moments = Math.max(2, ...panels.flatMap(p => p.series.map(s => s.values.length)))
  const seconds = (moments - 1) * step
  const x = (second: number): number => left + (second / seconds) * (width - left - right)
  const height = top + panels.length * (panelHeight + gap) + 14
  const parts = [text(16, 22, title, { bold: true })]
  for (const [i, { second, label }] of events.entries())
    parts.push(text(x(second) + 4, 46 + (i % labelRows) * 15, label, { tone: 'f3' }))
  for (const [i, panel] of panels.entries()) {
    const y0 = top + i * (panelHeight + gap) + 22
    parts.push(...panelSvg(panel, x, step, y0))
    for (const [e, { second }] of events.entries()) {
      const at = fixed(x(second))
      // From its label down, but not through the title of the panel.
      const above = i === 0 ? `M${at},${50 + (e % labelRows) * 15}V${y0 - 21}` : ''
      parts.push(line(`${above}M${at},${y0}V${y0 + panelHeight}`, 's3', 'stroke-dasharray="5 4"'))
    }
  }
  for (const tick of linearTicks(seconds).filter(at => at <= seconds))
    parts.push(text(x(tick), height - 32, tickText(tick), { anchor: 'middle', tone: 'm' }))
  parts.push(text((left + width) / 2, height - 14, 'seconds', { anchor: 'middle', tone: 'm' }))
  return frame(height, title, parts)
}

function panelSvg(
  { title, series }: Panel,
  x: (second: number) => number,
  step: number,
  y0: number,
): readonly string[] {
  const ticks = linearTicks(Math.max(0, ...series.flatMap(s => s.values.map(v => v ?? 0))))
  const max = ticks.at(-1) ?? 1
  const y = (value: number): number => y0 + panelHeight - (value / max) * panelHeight
  const parts = [text(left, y0 - 8, title)]
  if (series.length > 1)
    parts.push(
      ...legend(
        left + 40 + title.length * 6.4,
        y0 - 8,
        series.map(s => s.name),
      ),
    )
  for (const tick of ticks)
    parts.push(
      line(`M${left},${fixed(y(tick))}H${width - right}`, 'g'),
      text(left - 8, y(tick) + 4, tickText(tick), { anchor: 'end', tone: 'm' }),
    )
  for (const [i, { values }] of series.entries())
    parts.push(
      line(
        pathOf(values, at => x(at * step), y),
        `s${i}`,
        'stroke-width="1.6"',
      ),
    )
  return parts
}

/** Interrupted where nothing was measured. */
function pathOf(
  values: readonly (number | undefined)[],
  x: (at: number) => number,
  y: (value: number) => number,
): string {
  let path = ''
  let isDrawing = false
  for (const [i, value] of values.entries()) {
    if (value !== undefined) path += `${isDrawing ? 'L' : 'M'}${fixed(x(i))},${fixed(y(value))}`
    isDrawing = value !== undefined
  }
  return path === '' ? 'M0,0' : path
}

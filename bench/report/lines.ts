// An SVG of lines over a scale of sizes or rates, with the range of the rounds as whiskers. Either axis may be logarithmic.

import type { Spread } from '../stats.ts'
import { fixed, frame, legend, line, linearTicks, logTicks, text, width } from './svg.ts'
import { tickText } from './text.ts'

export interface LinesPlot {
  readonly title: string
  readonly xAxis: string
  readonly yAxis: string
  readonly series: readonly {
    readonly name: string
    readonly points: readonly { readonly x: number; readonly y: Spread }[]
  }[]
  readonly logY?: boolean
  /** Of the points of `x`; a number by default. */
  readonly label?: (x: number) => string
}

const [left, right, top, plotHeight] = [84, 28, 62, 280]

/** The x axis is logarithmic: what is measured here grows by factors. */
export function linesSvg(plot: LinesPlot): string {
  const { title, xAxis, yAxis, series, logY = false, label = tickText } = plot
  const xs = [...new Set(series.flatMap(s => s.points.map(p => p.x)))].sort((a, b) => a - b)
  const ys = series.flatMap(s => s.points.flatMap(p => [p.y.min, p.y.max]))
  const ticks = logY
    ? logTicks(Math.min(...ys.filter(y => y > 0)), Math.max(...ys))
    : linearTicks(Math.max(...ys))
  const scale = logY ? Math.log10 : (value: number): number => value
  const [low = 0, high = 1] = [ticks[0], ticks.at(-1)]
  const x = logScale(xs)
  const y = (value: number): number =>
    top + plotHeight * (1 - (scale(Math.max(value, low)) - scale(low)) / (scale(high) - scale(low)))
  const parts = [text(16, 22, title, { bold: true })]
  if (series.length > 1)
    parts.push(
      ...legend(
        16,
        44,
        series.map(s => s.name),
      ),
    )
  for (const tick of ticks)
    parts.push(
      line(`M${left},${fixed(y(tick))}H${width - right}`, 'g'),
      text(left - 8, y(tick) + 4, tickText(tick), { anchor: 'end', tone: 'm' }),
    )
  for (const at of xs)
    parts.push(
      line(`M${fixed(x(at))},${top + plotHeight}v5`, 'a'),
      text(x(at), top + plotHeight + 19, label(at), { anchor: 'middle', tone: 'm' }),
    )
  parts.push(
    text(left + (width - left - right) / 2, top + plotHeight + 40, xAxis, {
      anchor: 'middle',
      tone: 'm',
    }),
    text(20, top + plotHeight / 2, yAxis, { anchor: 'middle', tone: 'm', upright: true }),
  )
  for (const [i, { points }] of series.entries()) {
    const path = points.map(p => `${fixed(x(p.x))},${fixed(y(p.y.median))}`).join('L')
    parts.push(line(`M${path}`, `s${i}`, 'stroke-width="2"'))
    for (const p of points)
      parts.push(
        line(`M${fixed(x(p.x))},${fixed(y(p.y.min))}V${fixed(y(p.y.max))}`, `s${i}`),
        `<circle cx="${fixed(x(p.x))}" cy="${fixed(y(p.y.median))}" r="3.5" class="f${i}"/>`,
      )
  }
  return frame(top + plotHeight + 52, title, parts)
}

function logScale(xs: readonly number[]): (value: number) => number {
  const [from = 1, to = 1] = [xs[0], xs.at(-1)]
  const span = Math.log10(to / from) || 1
  const [start, room] = [left + 24, width - left - right - 48]
  return value => start + (Math.log10(value / from) / span) * room
}

// An SVG of how often a time was seen, with lines at its quantiles.

import { histogramOf, quantileOf } from '../stats.ts'
import { fixed, frame, line, linearTicks, text, width } from './svg.ts'
import { number, tickText } from './text.ts'

export interface HistogramPlot {
  readonly title: string
  readonly axis: string
  readonly values: readonly number[]
  readonly bins?: number
}

const [left, right, top, plotHeight] = [64, 28, 62, 220]
const marked = [
  ['p50', 0.5],
  ['p99', 0.99],
] as const

export function histogramSvg({ title, axis, values, bins = 40 }: HistogramPlot): string {
  const ticks = linearTicks(Math.max(...values))
  const max = ticks.at(-1) ?? 1
  const found = histogramOf([0, max, ...values], bins)
  // The two ends were put in to fix the scale.
  const counts = found.map(({ count }, i) => count - (i === 0 || i === bins - 1 ? 1 : 0))
  const countTicks = linearTicks(Math.max(...counts)).filter(Number.isInteger)
  const most = countTicks.at(-1) ?? 1
  const x = (value: number): number => left + (value / max) * (width - left - right)
  const y = (count: number): number => top + plotHeight * (1 - count / most)
  const parts = [text(16, 22, title, { bold: true })]
  for (const tick of countTicks)
    parts.push(
      line(`M${left},${fixed(y(tick))}H${width - right}`, 'g'),
      text(left - 8, y(tick) + 4, tickText(tick), { anchor: 'end', tone: 'm' }),
    )
  for (const tick of ticks)
    parts.push(
      text(x(tick), top + plotHeight + 18, tickText(tick), { anchor: 'middle', tone: 'm' }),
    )
  for (const [i, count] of counts.entries()) {
    const { from, to } = found[i] as { from: number; to: number }
    if (count > 0)
      parts.push(
        `<rect x="${fixed(x(from))}" y="${fixed(y(count))}" width="${fixed(x(to) - x(from) - 1)}" height="${fixed(top + plotHeight - y(count))}" class="f0"/>`,
      )
  }
  for (const [i, [name, q]] of marked.entries()) {
    const at = x(quantileOf(values, q))
    parts.push(
      line(`M${fixed(at)},${top - 8}V${top + plotHeight}`, 's1', 'stroke-dasharray="5 4"'),
      text(at + 4, top - 10 - i * 13, `${name} ${number(quantileOf(values, q))}`, { tone: 'f1' }),
    )
  }
  parts.push(
    text(left + (width - left - right) / 2, top + plotHeight + 40, axis, {
      anchor: 'middle',
      tone: 'm',
    }),
    text(20, top + plotHeight / 2, 'how often', { anchor: 'middle', tone: 'm', upright: true }),
  )
  return frame(top + plotHeight + 52, title, parts)
}

// An SVG of bars that lie, in groups, each with its value and the range of its rounds as a whisker.

import type { Spread } from '../stats.ts'
import { fixed, frame, legend, line, linearTicks, text, width } from './svg.ts'
import { spread, tickText } from './text.ts'

export interface BarsPlot {
  readonly title: string
  /** With the unit. */
  readonly axis: string
  readonly series: readonly string[]
  readonly groups: readonly {
    readonly name: string
    /** One for each series; undefined where it was not measured. */
    readonly values: readonly (Spread | undefined)[]
  }[]
}

const [right, top, bottom] = [150, 62, 46]
const [barHeight, groupGap] = [17, 14]

export function barsSvg({ title, axis, series, groups }: BarsPlot): string {
  const left = 28 + Math.max(60, ...groups.map(({ name }) => name.length * 6.6))
  const most = Math.max(0, ...groups.flatMap(g => g.values.map(v => v?.max ?? 0)))
  const ticks = linearTicks(most)
  const max = ticks.at(-1) ?? 1
  const x = (value: number): number => left + (value / max) * (width - left - right)
  const groupHeight = series.length * barHeight + groupGap
  const end = top + groups.length * groupHeight
  const parts = [text(16, 22, title, { bold: true })]
  if (series.length > 1) parts.push(...legend(16, 44, series))
  for (const tick of ticks)
    parts.push(
      line(`M${fixed(x(tick))},${top - 6}V${end}`, 'g'),
      text(x(tick), end + 16, tickText(tick), { anchor: 'middle', tone: 'm' }),
    )
  parts.push(text((left + width - right) / 2, end + 36, axis, { anchor: 'middle', tone: 'm' }))
  for (const [g, { name, values }] of groups.entries()) {
    const y0 = top + g * groupHeight
    parts.push(text(left - 8, y0 + (series.length * barHeight) / 2 + 4, name, { anchor: 'end' }))
    for (const [s, value] of values.entries())
      parts.push(...barSvg(value, y0 + s * barHeight, left, x, s))
  }
  return frame(end + bottom, title, parts)
}

function barSvg(
  value: Spread | undefined,
  y: number,
  left: number,
  x: (value: number) => number,
  series: number,
): readonly string[] {
  if (value === undefined) return [text(left + 6, y + 12, 'not run', { tone: 'm' })]
  const { median, min, max } = value
  const middle = y + (barHeight - 3) / 2
  const whisker = `M${fixed(x(min))},${fixed(middle)}H${fixed(x(max))}M${fixed(x(min))},${fixed(middle - 3)}v6M${fixed(x(max))},${fixed(middle - 3)}v6`
  return [
    `<rect x="${fixed(left)}" y="${fixed(y)}" width="${fixed(Math.max(1, x(median) - left))}" height="${barHeight - 3}" class="f${series}"/>`,
    line(whisker, 'a'),
    text(x(Math.max(median, max)) + 7, y + 11, spread(value)),
  ]
}

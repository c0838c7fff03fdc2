// An SVG of something over time: throughput above, latency below, and what happened as vertical lines. Readable in light and dark.

export interface Series {
  readonly name: string
  readonly color: string
  /** One for each moment; undefined where nothing was measured. */
  readonly values: readonly (number | undefined)[]
}

export interface Panel {
  readonly title: string
  readonly format: (value: number) => string
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

const width = 860
const panelHeight = 190
const [left, right, top, gap] = [78, 16, 34, 52]

export function timelineSvg({ title, step, panels, events }: Timeline): string {
  const moments = Math.max(2, ...panels.flatMap(p => p.series.map(s => s.values.length)))
  const seconds = (moments - 1) * step
  const x = (second: number): number => left + (second / seconds) * (width - left - right)
  const height = top + panels.length * (panelHeight + gap)
  const parts = [text(left, 18, title, 'start', 'bold')]
  for (const [i, panel] of panels.entries()) {
    const y0 = top + i * (panelHeight + gap) + 22
    parts.push(...panelSvg(panel, x, step, y0))
    for (const { second } of events)
      parts.push(
        `<path d="M${x(second).toFixed(1)},${y0}v${panelHeight}" stroke="#8a4fbf" stroke-dasharray="5 4"/>`,
      )
  }
  // One above the other, so that neighbours do not cover each other.
  for (const [i, { second, label }] of events.entries())
    parts.push(
      text(
        x(second) + 4,
        top + 14 + panelHeight - (i % 4) * 13,
        label,
        'start',
        'normal',
        '#8a4fbf',
      ),
    )
  for (let share = 0; share <= 4; share++) {
    const second = (seconds * share) / 4
    parts.push(text(x(second), height - 12, `${second.toFixed(0)} s`, 'middle'))
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">
<rect width="${width}" height="${height}" fill="white"/>
${parts.join('\n')}
</svg>
`
}

function panelSvg(
  { title, format, series }: Panel,
  x: (second: number) => number,
  step: number,
  y0: number,
): readonly string[] {
  const max = Math.max(...series.flatMap(s => s.values.map(v => v ?? 0))) * 1.08 || 1
  const y = (value: number): number => y0 + panelHeight - (value / max) * panelHeight
  const parts = [text(left, y0 - 6, title)]
  let legend = width - right
  for (const { name, color } of [...series].reverse()) {
    parts.push(text(legend, y0 - 6, name, 'end', 'normal', color))
    legend -= 14 + name.length * 7
  }
  for (let share = 0; share <= 4; share++) {
    const value = (max * share) / 4
    parts.push(
      `<path d="M${left},${y(value).toFixed(1)}H${width - right}" stroke="#d8dde3"/>`,
      text(left - 6, y(value) + 4, format(value), 'end'),
    )
  }
  for (const { color, values } of series) {
    let path = ''
    let isDrawing = false
    for (const [i, value] of values.entries()) {
      if (value === undefined) {
        isDrawing = false
        continue
      }
      path += `${isDrawing ? 'L' : 'M'}${x(i * step).toFixed(1)},${y(value).toFixed(1)}`
      isDrawing = true
    }
    parts.push(`<path d="${path}" fill="none" stroke="${color}" stroke-width="1.5"/>`)
  }
  return parts
}

function text(
  x: number,
  y: number,
  words: string,
  anchor = 'start',
  weight = 'normal',
  color = '#1b1f24',
): string {
  const escaped = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" font-weight="${weight}" fill="${color}">${escaped}</text>`
}

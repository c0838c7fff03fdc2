// A plot over time with the reconfigurations of the log as vertical lines.

import UPlot from 'uplot'
import type { Mark, Point, Stats } from './stats.ts'

export interface Line {
  readonly name: string
  /** A property of console.css. */
  readonly color: string
  readonly value: (point: Point) => number | undefined
}

const height = 220
/** Of labels of marks that stand close together; what finds no room has none. */
const labelLines = 5

export class Plot {
  readonly element = document.createElement('div')
  private readonly stats: Stats
  private readonly lines: readonly Line[]
  private readonly plot: UPlot
  private readonly resizes: ResizeObserver

  /** `least`: what the scale reaches at least, so that nothing much does not look like much. */
  constructor(
    stats: Stats,
    title: string,
    lines: readonly Line[],
    { show, least }: { readonly show: (value: number) => string; readonly least: number },
  ) {
    this.stats = stats
    this.lines = lines
    this.element.setAttribute('role', 'img')
    this.element.setAttribute('aria-label', title)
    const grid = { stroke: colorOf('--line'), width: 1 }
    const axis = { stroke: colorOf('--dim'), grid, ticks: grid }
    const accent = colorOf('--accent')
    this.plot = new UPlot(
      {
        // Until the observer tells: no screen is narrower, so the page is never wider than it.
        width: 200,
        height,
        series: [
          {},
          ...lines.map(({ name, color }) => ({
            label: name,
            stroke: colorOf(color),
            width: 2,
            points: { show: false },
            value: (_: UPlot, value: number | null) => (value === null ? '–' : show(value)),
          })),
        ],
        axes: [
          { ...axis, space: 80, values: (_, ticks) => ticks.map(clockTime) },
          { ...axis, size: 70, values: (_, values) => values.map(value => show(value)) },
        ],
        scales: { y: { range: (_, __, max) => [0, Math.max(max, least) * 1.1] } },
        hooks: { draw: [plot => drawMarks(plot, stats.marks, accent)] },
      },
      this.data(),
      this.element,
    )
    this.resizes = new ResizeObserver(() => {
      const { clientWidth: width } = this.element
      if (width > 0) this.plot.setSize({ width, height })
    })
    this.resizes.observe(this.element)
  }

  update(): void {
    this.plot.setData(this.data())
  }

  close(): void {
    this.resizes.disconnect()
    this.plot.destroy()
  }

  private data(): UPlot.AlignedData {
    const { points } = this.stats
    return [
      points.map(({ at }) => at),
      ...this.lines.map(({ value }) => points.map(point => value(point) ?? null)),
    ]
  }
}

/** Of seconds since 1970: hours, minutes and seconds here. */
function clockTime(at: number): string {
  return new Date(at * 1000).toTimeString().slice(0, 8)
}

/** What a colour of the style sheet is in this theme: a canvas does not know `light-dark()`. */
function colorOf(property: string): string {
  const probe = document.createElement('span')
  probe.style.color = `var(${property})`
  document.body.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}

function drawMarks(plot: UPlot, marks: readonly Mark[], color: string): void {
  const { ctx, bbox } = plot
  ctx.save()
  ctx.strokeStyle = color
  ctx.fillStyle = color
  ctx.textAlign = 'left'
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`
  /** Where the last label of each line ends. */
  const ends: number[] = []
  for (const { at, spec } of marks) {
    const x = plot.valToPos(at, 'x', true)
    if (x < bbox.left || x > bbox.left + bbox.width) continue
    ctx.setLineDash([4, 4])
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
    // Below those that it would cover.
    const line = [...ends, 0].findIndex(end => end < x)
    if (line >= labelLines) continue
    ends[line] = x + ctx.measureText(spec).width + 8
    ctx.fillText(spec, x + 4, bbox.top + 12 * (line + 1) * devicePixelRatio)
  }
  ctx.restore()
}

// What all plots of the report share: the frame, colours for light and dark, text, and axes with round numbers.

/** Plots are this wide. */
export const width = 860

/** Of series, by number; each has a tone for light and one for dark pages. */
const tones = [
  ['#1f6fbf', '#6cb0f5'],
  ['#c2501a', '#f0955c'],
  ['#2a7f4f', '#63c793'],
  ['#8a4fbf', '#c79bf0'],
  ['#7a6a12', '#d6c04e'],
  ['#b02a5b', '#f07aa6'],
  ['#3b7d86', '#6fc5d1'],
  ['#5d6570', '#a9b2bd'],
] as const

const each = (tone: 0 | 1): string =>
  tones.map(([...pair], i) => `.f${i}{fill:${pair[tone]}}.s${i}{stroke:${pair[tone]}}`).join('')

const style = `<style>
svg{background:#ffffff}.bg{fill:#ffffff}.t{fill:#1b1f24}.m{fill:#57606a}.g{stroke:#d8dde3}.a{stroke:#57606a}${each(0)}
@media (prefers-color-scheme:dark){svg{background:#12161c}.bg{fill:#12161c}.t{fill:#e6edf3}.m{fill:#9aa5b1}.g{stroke:#2d343d}.a{stroke:#9aa5b1}${each(1)}}
</style>`

export function frame(height: number, title: string, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, -apple-system, 'Segoe UI', sans-serif" font-size="12" role="img">
<title>${escaped(title)}</title>
${style}
<rect class="bg" width="${width}" height="${height}"/>
${parts.join('\n')}
</svg>
`
}

export interface TextOptions {
  readonly anchor?: 'start' | 'middle' | 'end'
  readonly bold?: boolean
  /** `t` text, `m` muted, `f0`… a series. */
  readonly tone?: string
  /** Turned by 90° to the left, for the axis at the side. */
  readonly upright?: boolean
}

export function text(
  x: number,
  y: number,
  words: string,
  { anchor = 'start', bold = false, tone = 't', upright = false }: TextOptions = {},
): string {
  const at = `x="${fixed(x)}" y="${fixed(y)}"`
  const turn = upright ? ` transform="rotate(-90 ${fixed(x)} ${fixed(y)})"` : ''
  const weight = bold ? ' font-weight="600" font-size="14"' : ''
  return `<text ${at} class="${tone}" text-anchor="${anchor}"${weight}${turn}>${escaped(words)}</text>`
}

export const line = (path: string, tone: string, more = ''): string =>
  `<path d="${path}" class="${tone}" fill="none"${more === '' ? '' : ` ${more}`}/>`

export const fixed = (value: number): string => value.toFixed(1)

/** Names and colours, from `x` on in one row, each in front of the next. */
export function legend(x: number, y: number, names: readonly string[]): readonly string[] {
  let at = x
  return names.flatMap((name, i) => {
    const parts = [
      `<rect x="${fixed(at)}" y="${fixed(y - 9)}" width="10" height="10" rx="2" class="f${i % tones.length}"/>`,
      text(at + 14, y, name),
    ]
    at += 32 + name.length * 6.6
    return parts
  })
}

/** Round values from 0 to at least `max`, four to six of them. */
export function linearTicks(max: number): readonly number[] {
  const rough = (max > 0 ? max : 1) / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 2.5, 5, 10].find(n => n * power >= rough) ?? 10) * power
  const count = Math.ceil((max > 0 ? max : 1) / step)
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12)))
}

/** Powers of ten around `[min, max]`. */
export function logTicks(min: number, max: number): readonly number[] {
  const from = Math.floor(Math.log10(min) + 1e-9)
  const to = Math.max(from + 1, Math.ceil(Math.log10(max) - 1e-9))
  return Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i))
}

function escaped(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

// What a broker says of itself at /metrics.

/** Anything that listens: a broker. */
export interface Listening {
  readonly url: string
}

export const httpUrl = ({ url }: Listening, path: string): string =>
  `${url.replace('ws:', 'http:')}${path}`

/** Text of the metrics page. */
export async function scrape(broker: Listening): Promise<string> {
  return (await fetch(httpUrl(broker, '/metrics'))).text()
}

/** The value of one series, labels included in its name; NaN when the page lacks it. */
export function valueOf(page: string, series: string): number {
  const line = page.split('\n').find(l => l.startsWith(`${series} `))
  return line === undefined ? Number.NaN : Number(line.slice(series.length + 1))
}

/** All series of a metric together. */
export function sumOf(page: string, name: string): number {
  return page
    .split('\n')
    .filter(line => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

export async function metric(broker: Listening, series: string): Promise<number> {
  return valueOf(await scrape(broker), series)
}

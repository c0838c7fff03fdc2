// What a broker says of itself at /metrics.

import { expect } from 'vitest'

/** Anything that listens: a broker. */
interface Listening {
  readonly url: string
}

export const httpUrl = ({ url }: Listening, path: string): string =>
  `${url.replace('ws:', 'http:')}${path}`

/** Text of the metrics page. */
export async function scrape(broker: Listening): Promise<string> {
  return (await fetch(httpUrl(broker, '/metrics'))).text()
}

/** The value of one series, labels included in its name. */
export async function metric(broker: Listening, series: string): Promise<number> {
  const line = (await scrape(broker)).split('\n').find(l => l.startsWith(`${series} `))
  return line === undefined ? Number.NaN : Number(line.slice(series.length + 1))
}

/** Waits until a series satisfies `condition`. */
export async function untilMetric(
  broker: Listening,
  series: string,
  condition: (value: number) => boolean,
): Promise<void> {
  await expect
    .poll(async () => condition(await metric(broker, series)), {
      interval: 10,
      timeout: 30_000,
      message: series,
    })
    .toBe(true)
}

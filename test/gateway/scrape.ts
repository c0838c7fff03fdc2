// Waits for what a broker says of itself at /metrics.

import { expect } from 'vitest'
import { type Listening, metric } from '../metrics-page.ts'

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

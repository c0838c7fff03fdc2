// The page at `/`: says what answers here and where to go on. No scripts, no styles from elsewhere.

import type { BrokerHealth } from '../health.ts'

export const pageHeaders = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
} as const

/** Undefined shows nothing but the way on: strangers look. */
export function page(
  shown: { readonly version: string; readonly health: BrokerHealth } | undefined,
): string {
  const rows = shown === undefined ? [] : rowsOf(shown.version, shown.health)
  const body = rows
    .map(
      ([name = '', value = '']) =>
        `<tr><th scope="row">${escape(name)}</th><td>${escape(value)}</td></tr>`,
    )
    .join('\n')
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Logloom</title>
<h1>Logloom</h1>
<p>A WebSocket broker listens on this port. <a href="/console/">console</a> · <a href="/health">health</a> · <a href="/metrics">metrics</a></p>
<table>
${body}
</table>
</html>
`
}

function rowsOf(version: string, health: BrokerHealth): string[][] {
  return [
    ['status', health.status],
    ['version', version],
    ['loglet', health.loglet],
    ['tail', String(health.tail)],
    ['applied', String(health.applied)],
    ...health.problems.map(problem => ['problem', problem]),
  ]
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`)
}

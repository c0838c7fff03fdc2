// Row 9: a sync fails with EIO in a real broker (strace injects it), in the middle of a run of records and again at other places. The broker
// ends, nothing of what was not synced is acked, and a restart has everything that was. In a cluster: acceptance/chaos.

import { syncError } from '../acceptance/fsync-order.ts'
import { type Suite, suiteMain } from './suite.ts'

const stopMsMax = 1000
/** strace itself ends a little later, and starts every call anew. */
const graceMs = 1000

export const run: Suite = async ({ form }) => {
  const begun = performance.now()
  const places = form === 'short' ? [30] : [10, 20, 30, 45, 60, 80, 100, 150, 200, 300]
  const reports: Awaited<ReturnType<typeof syncError>>[] = []
  for (const place of places) reports.push(await syncError(place))
  const sum = (pick: (report: (typeof reports)[number]) => number): number =>
    reports.reduce((total, report) => total + pick(report), 0)
  const counts = {
    faults: reports.length,
    acked: sum(r => r.ackedBefore),
    ackedAfterError: sum(r => r.ackedAfterError),
    read: sum(r => r.readableAfterRestart),
    lost: sum(r => r.missing),
    endedWithOne: reports.filter(({ exitCode }) => exitCode === 1).length,
  }
  const longestStopMs = Math.round(Math.max(...reports.map(({ stopMs }) => stopMs)))
  const wrong = [
    counts.lost > 0 && `${counts.lost} acked records are lost`,
    counts.ackedAfterError > 0 && `${counts.ackedAfterError} acks after the error`,
    counts.endedWithOne !== counts.faults && 'a broker did not end with 1',
    form === 'long' && longestStopMs > stopMsMax + graceMs && `a stop took ${longestStopMs} ms`,
  ].filter(Boolean)
  return {
    row: 9,
    name: 'sync-error',
    command: `node dist/test/reliability/sync-error.js${form === 'short' ? ' --short' : ''}`,
    seconds: Math.round((performance.now() - begun) / 1000),
    counts,
    figures: { longestStopMs },
    passed: wrong.length === 0,
    ...(wrong.length === 0 ? {} : { notes: wrong.join('; ') }),
  }
}

await suiteMain(import.meta.url, run)

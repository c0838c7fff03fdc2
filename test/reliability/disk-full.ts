// Row 10: a disk that is full below a real broker (a small tmpfs, needs root): appends are refused with a code and leave no trace, reads go on,
// space is enough to recover. In a cluster, with the disk of one node full: acceptance/chaos.

import { diskFull } from '../acceptance/disk-full.ts'
import { type Suite, suiteMain } from './suite.ts'

export const run: Suite = async ({ form }) => {
  const begun = performance.now()
  const loglets = form === 'short' ? ['file'] : ['file', 'striped:2:file', 'file', 'striped:4:file']
  const reports: Awaited<ReturnType<typeof diskFull>>[] = []
  for (const loglet of loglets) reports.push(await diskFull(loglet))
  const sum = (pick: (report: (typeof reports)[number]) => number): number =>
    reports.reduce((total, report) => total + pick(report), 0)
  const counts = {
    runs: reports.length,
    acked: sum(r => r.ackedBefore + r.ackedAfter),
    readableWhileFull: sum(r => r.readableWhileFull),
    ackedAfter: sum(r => r.ackedAfter),
    lost: sum(r => r.lost),
    traces: sum(r => r.traces),
  }
  const wrong = [
    counts.lost > 0 && `${counts.lost} acked records are lost`,
    counts.traces > 0 && `${counts.traces} refused records are there`,
    reports.some(r => r.codes.join() !== 'STORAGE_FULL') && 'refused with other codes',
    reports.some(r => r.readableWhileFull !== r.ackedBefore) && 'not all was readable while full',
    reports.some(r => r.ackedAfter < 20) && 'did not recover by itself',
    reports.some(r => r.exitCode !== 0) && 'did not end with 0',
  ].filter(Boolean)
  return {
    row: 10,
    name: 'disk-full',
    command: `node dist/test/reliability/disk-full.js${form === 'short' ? ' --short' : ''}`,
    seconds: Math.round((performance.now() - begun) / 1000),
    counts,
    figures: {},
    passed: wrong.length === 0,
    ...(wrong.length === 0 ? {} : { notes: wrong.join('; ') }),
  }
}

await suiteMain(import.meta.url, run)

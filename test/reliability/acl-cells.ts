// Row 22, the half about what principals may not do: every cell of the ACL matrix, each through a real socket.

import { AclMatrix } from '../security/acl-matrix.ts'
import { rows } from '../security/acl-rows.ts'
import { type Suite, suiteMain } from './suite.ts'

export const run: Suite = async () => {
  const startedMs = performance.now()
  const matrix = await AclMatrix.start()
  const wrong: string[] = []
  for (const row of rows) wrong.push(...(await matrix.tryRow(row)))
  await matrix.close()
  const { counts } = matrix
  return {
    row: 22,
    name: 'acl-cells',
    command: 'node dist/test/reliability/acl-cells.js',
    seconds: Math.round((performance.now() - startedMs) / 1000),
    counts: { ...counts, rows: rows.length },
    figures: {},
    passed: wrong.length === 0 && counts.refused > 500,
    ...(wrong.length === 0 ? {} : { notes: wrong.slice(0, 5).join('; ') }),
  }
}

await suiteMain(import.meta.url, run)

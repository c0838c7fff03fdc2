// Rows 17, 18, 19 and 21 in their short forms, on real processes. Each suite judges itself, by comparing what was measured in one run.

import { describe, expect, it } from 'vitest'
import { run as fairness } from './fairness.ts'
import { run as idleSockets } from './idle-sockets.ts'
import { run as overload } from './overload.ts'
import { run as sigterm } from './sigterm.ts'
import { run as stalledConsumers } from './stalled-consumers.ts'
import type { Suite } from './suite.ts'

const suites: readonly (readonly [string, Suite])[] = [
  ['consumers that do not read cost others little, and are cut', stalledConsumers],
  ['twice the load is shed: what gets in is done, what is refused left no trace', overload],
  ['who wants all does not keep who wants little from it', fairness],
  ['SIGTERM under load loses nothing and shows no error', sigterm],
  ['sockets that say nothing are cut, and others connect meanwhile', idleSockets],
]

describe('a broker under load and attack', () => {
  it.each(suites)(
    '%s',
    async (_, run) => {
      const result = await run({ form: 'short', seed: 1 })
      expect(result, JSON.stringify(result)).toMatchObject({ passed: true })
    },
    180_000,
  )
})

// The short form of the suite about who gets in: row 22 of the scoreboard.

import { expect, it } from 'vitest'
import { run } from './strangers.ts'

it('nobody gets in with a wrong token, from another origin or with a token in the URL', async () => {
  expect(await run({ form: 'short', seed: 1 })).toMatchObject({
    passed: true,
    counts: { letIn: 0 },
  })
})

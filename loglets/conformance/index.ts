// The conformance suite of the Loglet contract (DESIGN 4.1): each rule is a test, and every loglet passes all of them.
//
// For third parties too: hand in `describe` and `it` of any test runner and a way to make fresh loglets. The suite needs no timers and
// asserts with node:assert. Idea: abstract-level's exported suite, which every store runs.

import { appendRules } from './appends.ts'
import { lifetimeRules } from './lifetime.ts'
import { readRules } from './reads.ts'
import { sealRules } from './seals.ts'
import type { ConformanceApi, LogletFixture } from './suite.ts'
import { tailRules } from './tails.ts'
import { trimRules } from './trims.ts'

export type { ConformanceApi, LogletFixture, LogletWorkshop } from './suite.ts'

/** Registers the suite under `name`. `fixture` is called once per test. */
export function runLogletConformance(
  name: string,
  fixture: LogletFixture,
  api: ConformanceApi,
): void {
  api.describe(`${name} keeps the Loglet contract`, () => {
    for (const rules of [appendRules, tailRules, readRules, sealRules, trimRules, lifetimeRules])
      rules(fixture, api)
  })
}

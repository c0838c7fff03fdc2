// Every loglet that ships, alone and striped, against the one contract.

import { describe, it } from 'vitest'
import { runLogletConformance } from '../../loglets/conformance/index.ts'
import { fixtureOf } from './workshop.ts'

const specs = [
  'memory',
  'striped:1:memory',
  'striped:2:memory',
  'striped:3:memory',
  'striped:2:striped:2:memory',
  'file',
  'striped:2:file',
  'striped:4:file,segment.bytes=65536',
  'striped:2:striped:2:file',
]

for (const spec of specs) runLogletConformance(spec, fixtureOf(spec), { describe, it })

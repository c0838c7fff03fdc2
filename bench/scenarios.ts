// All scenarios, in the order of the report.

import type { Scenario } from './scenario.ts'
import { fanOut } from './limits/fan-out.ts'
import { halfLoad } from './limits/half-load.ts'
import { hardware } from './limits/hardware.ts'
import { securityCost } from './limits/security-cost.ts'
import { profile } from './limits/profile.ts'
import { throughput } from './limits/throughput.ts'
import { disaggregated } from './paper/disaggregated.ts'
import { ordering } from './paper/ordering.ts'
import { reconfiguration } from './paper/reconfiguration.ts'
import { striping } from './paper/striping.ts'
import { virtualisation } from './paper/virtualisation.ts'
import { peers } from './peers/scenario.ts'
import { consumers } from './scale/consumers.ts'
import { logLength } from './scale/log-length.ts'
import { recordSize } from './scale/record-size.ts'
import { topics } from './scale/topics.ts'
import { switchScenario } from './switch/scenario.ts'

export const scenarios: readonly Scenario[] = [
  switchScenario,
  ordering,
  disaggregated,
  striping,
  reconfiguration,
  virtualisation,
  hardware,
  throughput,
  profile,
  halfLoad,
  securityCost,
  fanOut,
  peers,
  topics,
  consumers,
  recordSize,
  logLength,
]

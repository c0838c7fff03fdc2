// All targets by name.

import type { Target } from '../target.ts'
import { batches, batchesGzip } from './batches.ts'
import { checkpoints, entries } from './entries.ts'
import { frames } from './frames.ts'
import { logFiles } from './log-files.ts'
import { requests } from './requests.ts'
import { arguments_, commandLines, settings, specs } from './texts.ts'
import { chains, metastore, peers } from './values.ts'

export const targets: readonly Target[] = [
  frames,
  batches,
  batchesGzip,
  requests,
  entries,
  checkpoints,
  logFiles,
  chains,
  metastore,
  peers,
  settings,
  specs,
  arguments_,
  commandLines,
]

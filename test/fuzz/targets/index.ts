// All targets by name.

import type { Target } from '../target.ts'
import { acls } from './acls.ts'
import { batches, batchesGzip } from './batches.ts'
import { client } from './client.ts'
import { checkpoints, entries } from './entries.ts'
import { frames } from './frames.ts'
import { logFiles } from './log-files.ts'
import { requests } from './requests.ts'
import { snapshots } from './snapshots.ts'
import { arguments_, commandLines, settings, specs } from './texts.ts'
import { tokens } from './tokens.ts'
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
  client,
  tokens,
  acls,
  snapshots,
]

// Small disks of their own, for tests that fill one. In CI they must not be skipped.

import { spawnSync } from 'node:child_process'

/** Whether a tmpfs can be mounted here: as root, with `mount`. */
export const canMount = process.getuid?.() === 0 && spawnSync('mount', ['-V']).status === 0
if (!canMount && process.env.CI === 'true')
  throw new Error('CI has to run as root, to mount a small disk')

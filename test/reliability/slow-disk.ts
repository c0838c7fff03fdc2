// A disk that is the limit, whatever the machine: strace holds up every sync of the broker that it runs.

import { spawnSync } from 'node:child_process'

const syncDelayMicroseconds = 20_000

export const hasStrace = spawnSync('strace', ['-V']).status === 0

/** To be put before the broker's command. */
export const slowDisk = hasStrace
  ? `strace -f -qq --seccomp-bpf -o /dev/null -e trace=fdatasync -e inject=fdatasync:delay_exit=${syncDelayMicroseconds}`.split(
      ' ',
    )
  : []

/** A log that syncs little at a time. */
export const slowLog = ['--loglet=file', '--appends-in-flight-max=2', '--entry-bytes-max=65536']

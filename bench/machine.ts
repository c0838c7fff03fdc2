// What was measured on, and which code: the first lines of the report.

import { execFileSync } from 'node:child_process'
import { readFileSync, statfsSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { benchRoot } from './context.ts'

export interface Machine {
  readonly cpu: string
  readonly memoryGb: number
  readonly system: string
  readonly node: string
  /** Of the data. */
  readonly fileSystem: string
}

const fileSystems: Readonly<Record<number, string>> = {
  0xef_53: 'ext4',
  0x58_46_53_42: 'xfs',
  0x91_23_68_3e: 'btrfs',
  0x01_02_19_94: 'tmpfs (memory: syncs cost nothing there)',
  0x79_4c_76_30: 'overlayfs',
}

export function machine(): Machine {
  const { type } = statfsSync(benchRoot())
  return {
    cpu: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${distribution()}, ${process.platform} ${release()}`,
    node: process.version,
    fileSystem: fileSystems[type] ?? `0x${type.toString(16)}`,
  }
}

/** The commit, with a + when files differ from it other than those that the benchmarks write; `unknown` outside a repository. */
export function commit(): string {
  try {
    const git = (...args: readonly string[]): string =>
      execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    const written = [':!bench/results', ':!docs/benchmarks', ':!docs/benchmarks.md']
    const changed = git('status', '--porcelain', '--', '.', ...written)
    return git('rev-parse', '--short=8', 'HEAD') + (changed === '' ? '' : '+')
  } catch {
    return 'unknown'
  }
}

function distribution(): string {
  try {
    const name = /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
    return name ?? process.platform
  } catch {
    return process.platform
  }
}

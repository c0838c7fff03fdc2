// `logloom health`: is the broker well? Over plain HTTP, as a load balancer would ask; exit code 10 when not.

import type { Command } from 'commander'
import { exitCodes } from './exit-codes.ts'
import { examples, type GlobalOptions, globalsOf, seconds } from './options.ts'
import { writeJson, writeText } from './output.ts'
import { formatFields } from './table.ts'

interface HealthOptions {
  readonly wait: number
}

/** Adds the command. */
export function addHealthCommand(program: Command): void {
  program
    .command('health')
    .description('ask whether the broker is well; exit code 10 when it is not')
    .option('--wait <seconds>', 'ask again until it is well, for at most this long', seconds, 0)
    .addHelpText(
      'after',
      examples('logloom health', 'logloom health --wait 30 && ./start-consumers'),
    )
    .action((o: HealthOptions, command: Command) => health({ ...o, ...globalsOf(command) }))
}

async function health(o: HealthOptions & GlobalOptions): Promise<void> {
  const { waitForHealth } = await import('./health.ts')
  const report = await waitForHealth(o.url, o.wait * 1000)
  if (!report.isWell) process.exitCode = exitCodes.unhealthy
  if (o.format === 'json') {
    await writeJson(report.body)
    return
  }
  const { status, version, tail, applied, loglet, problems } = report.body
  await writeText(
    formatFields({
      STATUS: status,
      VERSION: version ?? null,
      TAIL: tail ?? null,
      APPLIED: applied ?? null,
      LOGLET: loglet ?? null,
      PROBLEMS: problems.join('; ') || null,
    }),
  )
}

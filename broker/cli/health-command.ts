// `logloom health`: is the broker well? Over plain HTTP, as a load balancer would ask; exit code 10 when not.

import type { Command } from 'commander'
import { exitCodes } from './exit-codes.ts'
import type { HealthReport } from './health.ts'
import { examples, type GlobalOptions, globalsOf, seconds } from './options.ts'
import { writeJson, writeText } from './output.ts'
import { onStopSignal } from './stop-signal.ts'
import { formatFields, formatTable } from './table.ts'

interface HealthOptions {
  readonly wait: number
  readonly serving?: true
}

/** Adds the command. */
export function addHealthCommand(program: Command): void {
  program
    .command('health')
    .description('ask whether the broker is well; exit code 10 when it is not')
    .option('--wait <seconds>', 'ask again until it is well, for at most this long', seconds, 0)
    .option('--serving', 'well enough is a broker that serves, also when it is degraded')
    .addHelpText(
      'after',
      `
ok: serves, and nothing needs a person. degraded: serves, but something needs a person.
unavailable: takes no appends or cannot tell where the log ends. unreachable: does not answer.
With several addresses in --url it tells of each, and the worst decides.
${examples(
  'logloom health',
  'logloom health --wait 30 --serving && ./start-consumers',
  'logloom health --url ws://10.0.0.1:5640,ws://10.0.0.2:5640,ws://10.0.0.3:5640',
)}`,
    )
    .action((o: HealthOptions, command: Command) => health({ ...o, ...globalsOf(command) }))
}

async function health(o: HealthOptions & GlobalOptions): Promise<void> {
  const { waitForHealth } = await import('./health.ts')
  const stopping = new AbortController()
  let stoppedBy: NodeJS.Signals | undefined
  const off = onStopSignal(signal => {
    stoppedBy = signal
    stopping.abort(new Error(`stopped by ${signal}`))
  })
  const reports = await waitForHealth({
    url: o.url,
    waitMs: o.wait * 1000,
    serving: o.serving === true,
    signal: stopping.signal,
  })
  off()
  if (stoppedBy !== undefined) process.exitCode = exitCodes.stoppedBy[stoppedBy] ?? exitCodes.error
  else if (reports.some(({ isWell }) => !isWell)) process.exitCode = exitCodes.unhealthy
  if (o.format === 'json')
    for (const { url, body } of reports)
      await writeJson(reports.length > 1 ? { url, ...body } : body)
  else await writeText(reports.length > 1 ? many(reports) : one(reports[0] as HealthReport))
}

function one({ body }: HealthReport): string {
  const { status, version, tail, applied, loglet, problems } = body
  return formatFields({
    STATUS: status,
    VERSION: version ?? null,
    TAIL: tail ?? null,
    APPLIED: applied ?? null,
    LOGLET: loglet ?? null,
    PROBLEMS: problems.join('; ') || null,
  })
}

function many(reports: readonly HealthReport[]): string {
  const rows = reports.map(({ url, body: { status, version, tail, applied, problems } }) => {
    return [
      url,
      status,
      version ?? null,
      tail ?? null,
      applied ?? null,
      problems.join('; ') || null,
    ]
  })
  return formatTable(['URL', 'STATUS', 'VERSION', 'TAIL', 'APPLIED', 'PROBLEMS'], rows)
}

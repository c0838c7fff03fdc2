// `logloom log …`: describe, switch, seal, trim and verify the shared log.

import type { Command } from 'commander'
import type { LogDescription, LogSwitch } from '../../client/index.ts'
import type { VerifyResult } from '../log-operations.ts'
import { withBroker } from './broker-client.ts'
import { exitCodes } from './exit-codes.ts'
import { formatWarning } from './failure.ts'
import { examples, type GlobalOptions, globalsOf, whole } from './options.ts'
import { note, writeJson, writeText } from './output.ts'
import { formatBytes, formatFields, formatTable } from './table.ts'

interface SwitchOptions {
  readonly expectedIndex?: number
}

interface TrimOptions {
  readonly force?: boolean
}

interface VerifyOptions {
  readonly data?: string
}

/** Adds the command and its verbs. */
export function addLogCommand(program: Command): void {
  const log = program
    .command('log')
    .description('describe, switch, seal, trim and verify the shared log')
  log
    .command('describe')
    .description('show the chain of segments')
    .addHelpText('after', examples('logloom log describe', 'logloom log describe --format json'))
    .action((_, command: Command) => describe(globalsOf(command)))
  log
    .command('switch')
    .description(
      'seal the current segment and go on in a loglet of another kind, while clients run',
    )
    .argument(
      '<spec>',
      'file, memory, striped:N:file; in a cluster native, striped:N:native, striped:N,servers=disjoint:native',
    )
    .option('--expected-index <n>', 'only if this is still the current segment', whole(0))
    .addHelpText(
      'after',
      examples(
        'logloom log switch striped:4:file',
        'logloom log switch striped:3,servers=disjoint:native',
      ),
    )
    .action((spec: string, o: SwitchOptions, command: Command) =>
      switchTo(spec, { ...o, ...globalsOf(command) }),
    )
  log
    .command('seal')
    .description('seal the current segment and reopen with the same spec')
    .addHelpText('after', examples('logloom log seal'))
    .action((_, command: Command) => seal(globalsOf(command)))
  log
    .command('trim')
    .description('drop the log before a position; refused while live records lie there')
    .argument('<lsn>', 'first position to keep', whole(0))
    .option('--force', 'drop live records too')
    .addHelpText('after', examples('logloom log trim 40960'))
    .action((lsn: number, o: TrimOptions, command: Command) =>
      trim(lsn, { ...o, ...globalsOf(command) }),
    )
  log
    .command('verify')
    .description('read the whole log, check it and print each damaged range')
    .option('--data <dir>', 'verify a data directory of a stopped broker, offline')
    .addHelpText('after', examples('logloom log verify', 'logloom log verify --data ./.logloom'))
    .action((o: VerifyOptions, command: Command) => verify({ ...o, ...globalsOf(command) }))
}

/** Warns when the broker could not look whether this is the newest. */
export function sayStale({ stale }: LogDescription, { format }: GlobalOptions): void {
  if (stale === undefined) return
  note(formatWarning(`this is what the broker knew last: ${stale}`, format))
}

function describe(o: GlobalOptions): Promise<void> {
  return withBroker(o.url, async client => {
    const log = await client.admin().describeLog()
    sayStale(log, o)
    if (o.format === 'json') return writeJson(log)
    const { version, tail, applied, trim, segments } = log
    const fields = formatFields({ VERSION: version, TAIL: tail, APPLIED: applied, TRIM: trim })
    const rows = segments.map(segment => {
      const range = `${segment.start}..${segment.end ?? '(tail)'}`
      const state = segment.volatile ? `${segment.state}, volatile` : segment.state
      return [segment.index, range, segment.spec, state]
    })
    return writeText(`${fields}\n${formatTable(['SEGMENT', 'RANGE', 'SPEC', 'STATE'], rows)}`)
  })
}

async function switchTo(spec: string, o: SwitchOptions & GlobalOptions): Promise<void> {
  const { expectedIndex } = o
  const options = expectedIndex === undefined ? {} : { expectedIndex }
  await withBroker(o.url, async client => {
    const result = await client.admin().switchLog(spec, options)
    // Of what happened, not of what was refused.
    if (/(^|:)memory\b/.test(spec)) {
      const warning =
        'a memory loglet forgets: what is written from now on is lost when the broker stops'
      note(formatWarning(warning, o.format))
    }
    await report(result, o)
  })
}

async function seal(o: GlobalOptions): Promise<void> {
  await withBroker(o.url, async client => report(await client.admin().sealLog(), o))
}

function report(result: LogSwitch, o: GlobalOptions): Promise<void> {
  if (o.format === 'json') return writeJson(result)
  const { sealed, pauseMs, opened } = result
  return writeText(
    `sealed segment ${sealed.index} at ${sealed.end}, opened segment ${opened.index} ${opened.spec}, ` +
      `longest pause ${pauseMs} ms\n`,
  )
}

function trim(lsn: number, o: TrimOptions & GlobalOptions): Promise<void> {
  return withBroker(o.url, async client => {
    const result = await client.admin().trimLog(lsn, { force: o.force ?? false })
    if (o.format === 'json') return writeJson(result)
    return writeText(`the log starts at ${result.trim}\n`)
  })
}

/** Reading everything takes its time. */
const verifyMs = 24 * 3600 * 1000

async function verify(o: VerifyOptions & GlobalOptions): Promise<void> {
  const { data } = o
  const result: VerifyResult =
    data === undefined
      ? await withBroker(o.url, client => client.admin().verifyLog({ timeoutMs: verifyMs }))
      : await (await import('./verify-offline.ts')).verifyOffline(data)
  if (!result.ok) process.exitCode = exitCodes.error
  if (o.format === 'json') {
    await writeJson(result)
    return
  }
  const { ok, entries, bytes, damaged } = result
  const summary = `${ok ? 'ok' : 'damaged'}: ${entries} entries, ${formatBytes(bytes)}\n`
  const rows = damaged.map(({ from, to, kind, detail }) => [`${from}..${to}`, kind, detail])
  await writeText(
    rows.length === 0 ? summary : summary + formatTable(['RANGE', 'KIND', 'DETAIL'], rows),
  )
}

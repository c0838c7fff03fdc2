// `logloom snapshot …`: takes, lists and restores backups of a cluster (docs/operations.md, "Backup and restore").

import type { Command } from 'commander'
import { withConnection } from './broker-client.ts'
import { exitCodes } from './exit-codes.ts'
import { formatWarning } from './failure.ts'
import { examples, type GlobalOptions, globalsOf, keyValue, whole } from './options.ts'
import { note, writeJson, writeText } from './output.ts'
import { progressBar } from './progress.ts'
import type { RestoreOptions, RestoreResult } from './snapshot-restore.ts'
import { formatBytes, formatFields, formatTable } from './table.ts'

interface CreateFlags extends GlobalOptions {
  readonly security: boolean
  readonly holdMs?: number
}

interface RestoreFlags extends GlobalOptions {
  readonly topic?: readonly string[]
  readonly prefix?: string
  readonly rename?: Readonly<Record<string, string>>
  readonly dryRun?: boolean
  readonly drop?: boolean
  readonly withSecurity?: boolean
}

/** Adds the command and its verbs. */
export function addSnapshotCommand(program: Command): void {
  const snapshot = program
    .command('snapshot')
    .description('take, list and restore backups of all topics and groups')
  snapshot
    .command('create')
    .description('write everything as it is at one position of the log into a file')
    .argument('<path>', 'the file, or a folder in which it gets a name of its own')
    .option(
      '--hold-ms <ms>',
      'how long retention waits for this command after it was heard of last',
      whole(1000, 600_000),
    )
    .option('--no-security', 'leave out hashes of API keys, ACLs and quotas')
    .addHelpText(
      'after',
      examples(
        'logloom snapshot create /backup/',
        'logloom snapshot create monday.snapshot --format json',
      ),
    )
    .action((path: string, _, command: Command) => create(path, command.optsWithGlobals()))
  snapshot
    .command('list')
    .description('show the snapshots of a folder')
    .argument('[folder]', 'where they are', '.')
    .option('--verify', 'read and check all of each')
    .addHelpText('after', examples('logloom snapshot list /backup --verify'))
    .action((folder: string, o: { readonly verify?: boolean }, command: Command) =>
      list(folder, o.verify === true, globalsOf(command)),
    )
  snapshot
    .command('restore')
    .description('make the topics and groups of a snapshot anew, all at once or not at all')
    .argument('<file>', 'made by `logloom snapshot create`')
    .option('--topic <name>', 'only this one; may be repeated', repeated)
    .option('--prefix <text>', 'put before the name of each topic')
    .option('--rename <old=new>', 'another name for one topic; may be repeated', keyValue)
    .option('--with-security', 'also API keys, ACLs and quotas that there are none of')
    .option('--dry-run', 'check the file and the cluster, write nothing')
    .option('--drop', 'drop what an unfinished restore of the same has made')
    .addHelpText(
      'after',
      examples(
        'logloom snapshot restore monday.snapshot --dry-run',
        'logloom snapshot restore monday.snapshot --topic orders --prefix restored-',
      ),
    )
    .action((file: string, _, command: Command) => restore(file, command.optsWithGlobals()))
  snapshot
    .command('unfinished')
    .description('show restores that were begun and not finished; nobody sees their topics')
    .option('--drop <restore>', 'drop what this one has made; the file is not needed')
    .addHelpText('after', examples('logloom snapshot unfinished'))
    .action((_, command: Command) => unfinished(command.optsWithGlobals()))
}

interface UnfinishedFlags extends GlobalOptions {
  readonly drop?: string
}

/** What restores have made that nobody sees yet, or one of them dropped. */
async function unfinished(o: UnfinishedFlags): Promise<void> {
  await withConnection(o.url, async connection => {
    if (o.drop !== undefined) {
      const { topics } = await connection.call('dropRestore', { restore: o.drop })
      if (o.format === 'json') return writeJson({ dropped: topics })
      return writeText(`dropped ${Number(topics)} topics that were being restored\n`)
    }
    const { restores } = await connection.call('describeRestore')
    if (o.format === 'json') return writeJson({ restores })
    const found = restores as readonly { restore: string; topics: number; bytes: number }[]
    const rows = found.map(({ bytes, restore: id, topics }) => [id, topics, formatBytes(bytes)])
    return writeText(formatTable(['RESTORE', 'TOPICS', 'SIZE'], rows))
  })
}

function repeated(value: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, value]
}

async function create(path: string, o: CreateFlags): Promise<void> {
  const { createSnapshot } = await import('./snapshot-create.ts')
  const bar = progressBar(isSeen(o))
  await withConnection(o.url, async connection => {
    const made = await createSnapshot(connection, path, {
      security: o.security,
      ...(o.holdMs === undefined ? {} : { holdMs: o.holdMs }),
      onProgress: (done, all) => bar.show('reading', done, all),
    }).finally(() => bar.end())
    const { bytes, position, sha256, time, totals } = made
    if (totals.lostOffsets > 0) {
      const warning = `${totals.lostOffsets} offsets cannot be read any more and are not in the snapshot: see \`logloom log verify\``
      note(formatWarning(warning, o.format))
    }
    if (o.format === 'json') return writeJson({ ...made, time: iso(time) })
    const fields = {
      FILE: made.path,
      POSITION: position,
      TIME: iso(time),
      ...counts(totals),
      SIZE: formatBytes(bytes),
      SHA256: sha256,
    }
    return writeText(formatFields(fields))
  })
}

async function list(folder: string, verify: boolean, o: GlobalOptions): Promise<void> {
  const { listSnapshots } = await import('./snapshot-list.ts')
  const found = await listSnapshots(folder, { verify })
  if (found.some(({ state }) => state === 'corrupt')) process.exitCode = exitCodes.error
  if (o.format === 'json') {
    const snapshots = found.map(({ takenAt, ...each }) => {
      return { ...each, ...(takenAt === undefined ? {} : { takenAt: iso(takenAt) }) }
    })
    return writeJson({ snapshots })
  }
  const rows = found.map(each => [
    plain(each.name),
    each.takenAt === undefined ? null : iso(each.takenAt),
    each.position ?? null,
    each.topics ?? null,
    each.records ?? null,
    each.groups ?? null,
    formatBytes(each.fileBytes),
    plain(each.detail === undefined ? each.state : `${each.state}: ${each.detail}`),
  ])
  const header = ['NAME', 'TAKEN', 'POSITION', 'TOPICS', 'RECORDS', 'GROUPS', 'SIZE', 'STATE']
  await writeText(formatTable(header, rows))
}

async function restore(file: string, o: RestoreFlags): Promise<void> {
  const { dropRestore, restoreSnapshot } = await import('./snapshot-restore.ts')
  const bar = progressBar(isSeen(o))
  const options: RestoreOptions = {
    topics: o.topic,
    prefix: o.prefix,
    rename: o.rename,
    dryRun: o.dryRun,
    security: o.withSecurity,
    onProgress: (stage, done, all) => bar.show(stage, done, all),
  }
  await withConnection(o.url, async connection => {
    if (o.drop === true) {
      const topics = await dropRestore(connection, file, options)
      if (o.format === 'json') return writeJson({ dropped: topics })
      return writeText(`dropped ${topics} topics that were being restored\n`)
    }
    const result = await restoreSnapshot(connection, file, options).finally(() => bar.end())
    if (result.totals.rights > 0 && o.withSecurity !== true && o.dryRun !== true) {
      const warning = `${result.totals.rights} API keys, ACLs and quotas of the snapshot were not restored: see --with-security`
      note(formatWarning(warning, o.format))
    }
    return report(result, o)
  })
}

function report(result: RestoreResult, o: GlobalOptions): Promise<void> {
  const { outcome, position, sentBytes, skippedBytes, time, topics, totals } = result
  if (o.format === 'json') return writeJson({ ...result, time: iso(time) })
  const fields = formatFields({
    OUTCOME: outcome,
    POSITION: position,
    TIME: iso(time),
    ...counts(totals),
    SENT: formatBytes(sentBytes),
    SKIPPED: formatBytes(skippedBytes),
  })
  const rows = topics.map(({ from, partitions, records, topic }) => [
    topic,
    from === topic ? null : from,
    partitions,
    records,
  ])
  return writeText(`${fields}\n${formatTable(['TOPIC', 'FROM', 'PARTITIONS', 'OFFSETS'], rows)}`)
}

function counts(totals: RestoreResult['totals']): Record<string, number> {
  const { groups, partitions, records, shareGroups, topics } = totals
  return { TOPICS: topics, PARTITIONS: partitions, RECORDS: records, GROUPS: groups + shareGroups }
}

const iso = (ms: number): string => new Date(Math.min(ms, 8.64e15)).toISOString()

/** File names and messages about them are anybody's. */
function plain(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?')
}

function isSeen({ format }: GlobalOptions): boolean {
  return format === 'table' && process.stderr.isTTY === true
}

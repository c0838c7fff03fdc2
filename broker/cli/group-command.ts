// `logloom group …`: list, describe, reset and delete consumer groups.

import { type Command, InvalidArgumentError } from 'commander'
import type {
  Client,
  GroupDescription,
  LogloomError,
  OffsetSpec,
  ShareGroupDescription,
} from '../../client/index.ts'
import { withBroker } from './broker-client.ts'
import { examples, type GlobalOptions, globalsOf } from './options.ts'
import { writeJson, writeText } from './output.ts'
import { parseStartOffset } from './start-offset.ts'
import { formatFields, formatTable } from './table.ts'

type Target = OffsetSpec | { readonly shift: number }

interface ResetOptions {
  readonly to: Target
  readonly topic?: readonly string[]
  readonly dryRun?: boolean
}

interface DeleteOptions {
  readonly dryRun?: boolean
}

/** Adds the command and its verbs. */
export function addGroupCommand(program: Command): void {
  const group = program
    .command('group')
    .description('list, describe, reset and delete consumer groups')
  group
    .command('list')
    .description('list all groups with their members and lag')
    .addHelpText('after', examples('logloom group list', 'logloom group list --format json'))
    .action((_, command: Command) => list(globalsOf(command)))
  group
    .command('describe')
    .description('show the members of a group, and the offset and lag of each partition')
    .argument('<group>')
    .addHelpText('after', examples('logloom group describe billing'))
    .action((name: string, _, command: Command) => describe(name, globalsOf(command)))
  group
    .command('reset')
    .description('move the offsets of a group that has no members')
    .argument('<group>')
    .requiredOption(
      '--to <where>',
      'beginning, end, an offset N, -N for the last N of each partition, @TIME, or shift:N from where each is',
      parseTarget,
    )
    .option(
      '--topic <names>',
      'all partitions of these topics, a,b (default: those with an offset)',
      names,
    )
    .option('--dry-run', 'only show what would be done')
    .addHelpText(
      'after',
      examples(
        'logloom group reset billing --to beginning --dry-run',
        'logloom group reset billing --to shift:-100',
        'logloom group reset billing --to @2026-01-31T08:00:00Z --topic orders,payments',
      ),
    )
    .action((name: string, o: ResetOptions, command: Command) =>
      reset(name, { ...o, ...globalsOf(command) }),
    )
  group
    .command('delete')
    .description('forget a group that has no members, and its offsets')
    .argument('<group>')
    .option('--dry-run', 'only show what would be forgotten')
    .addHelpText('after', examples('logloom group delete billing'))
    .action((name: string, o: DeleteOptions, command: Command) =>
      remove(name, { ...o, ...globalsOf(command) }),
    )
}

function list({ url, format }: GlobalOptions): Promise<void> {
  return withBroker(url, async client => {
    const groups = await client.admin().listGroups()
    if (format === 'json') return writeJson({ groups })
    const rows = groups.map(g => [g.group, g.type, g.state, g.members, g.assignor ?? null, g.lag])
    return writeText(formatTable(['GROUP', 'TYPE', 'STATE', 'MEMBERS', 'ASSIGNOR', 'LAG'], rows))
  })
}

function describe(name: string, { url, format }: GlobalOptions): Promise<void> {
  return withBroker(url, async client => {
    const group = await describeAny(client, name)
    if (format === 'json') return writeJson(group)
    return writeText(group.type === 'share' ? textOfShare(group) : textOf(group))
  })
}

async function describeAny(
  client: Client,
  name: string,
): Promise<GroupDescription | ShareGroupDescription> {
  const admin = client.admin()
  try {
    return await admin.describeGroup(name)
  } catch (error) {
    if ((error as LogloomError).code !== 'INCONSISTENT_GROUP_PROTOCOL') throw error
    return admin.describeShareGroup(name)
  }
}

function textOfShare(group: ShareGroupDescription): string {
  const rows = group.partitions.map(p => [
    p.topic,
    p.partition,
    p.startOffset,
    p.nextOffset,
    p.endOffset,
    p.lag,
    p.held,
    p.waiting,
    p.redelivered,
    p.archived,
  ])
  const fields = {
    GROUP: group.group,
    TYPE: group.type,
    STATE: group.state,
    'DELIVERY LIMIT': group.deliveryCountLimit,
    'KEEPS DEAD': String(group.keepsDead),
  }
  const members = group.members.map(m => [m.memberId, m.records])
  const heads = ['START', 'NEXT', 'END', 'LAG', 'HELD', 'WAITING', 'REDELIVERED', 'ARCHIVED']
  return [
    formatFields(fields),
    formatTable(['MEMBER', 'HELD'], members),
    formatTable(['TOPIC', 'PARTITION', ...heads], rows),
  ].join('\n')
}

function textOf({
  group,
  state,
  assignor,
  generation,
  members,
  partitions,
}: GroupDescription): string {
  const fields = { GROUP: group, STATE: state, ASSIGNOR: assignor, GENERATION: generation }
  const memberRows = members.map(m => [
    m.memberId,
    m.groupInstanceId,
    m.attached ? m.node : '(away)',
    m.partitions,
  ])
  const rows = partitions.map(p => [
    p.topic,
    p.partition,
    p.offset,
    p.endOffset,
    p.lag,
    p.lagMs === null ? null : Math.round(p.lagMs / 100) / 10,
    p.memberId === null ? null : p.memberId + (p.revoking ? ' (asked back)' : ''),
  ])
  return [
    formatFields(fields),
    formatTable(['MEMBER', 'INSTANCE', 'NODE', 'PARTITIONS'], memberRows),
    formatTable(['TOPIC', 'PARTITION', 'OFFSET', 'END', 'LAG', 'LAG S', 'MEMBER'], rows),
  ].join('\n')
}

function reset(name: string, o: ResetOptions & GlobalOptions): Promise<void> {
  const { url, format, to, topic, dryRun } = o
  return withBroker(url, async client => {
    const { offsets } = await client.admin().resetOffsets(name, {
      to,
      ...(topic === undefined ? {} : { topics: topic }),
      ...(dryRun === undefined ? {} : { dryRun }),
    })
    if (format === 'json') return writeJson({ group: name, offsets, dryRun: dryRun === true })
    const rows = offsets.map(each => [each.topic, each.partition, each.from, each.to])
    return writeText(formatTable(['TOPIC', 'PARTITION', 'FROM', 'TO'], rows))
  })
}

function remove(
  name: string,
  { url, format, dryRun }: DeleteOptions & GlobalOptions,
): Promise<void> {
  return withBroker(url, async client => {
    const group = await describeAny(client, name)
    if (dryRun !== true) await client.admin().deleteGroup(name)
    const offsets =
      group.type === 'share'
        ? group.partitions.length
        : group.partitions.filter(({ offset }) => offset !== null).length
    if (format === 'json') return writeJson({ group: name, offsets, dryRun: dryRun === true })
    const verb = dryRun === true ? 'would forget' : 'forgot'
    return writeText(`${verb} group ${name} and its offsets of ${offsets} partitions\n`)
  })
}

function parseTarget(text: string): Target {
  const shift = /^shift:(-?\d+)$/.exec(text)?.[1]
  if (shift !== undefined && Number.isSafeInteger(Number(shift))) return { shift: Number(shift) }
  try {
    return parseStartOffset(text)
  } catch {
    throw new InvalidArgumentError(
      'It must be beginning, end, an offset N, -N for the last N, @ with an ISO time or milliseconds, or shift:N.',
    )
  }
}

function names(text: string): readonly string[] {
  const list = text.split(',').filter(name => name !== '')
  if (list.length === 0) throw new InvalidArgumentError('It must be topic names, a,b.')
  return list
}

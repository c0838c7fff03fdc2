// `logloom topic …`: create, list, describe, delete, alter and trim topics.

import type { Command } from 'commander'
import { withBroker } from './broker-client.ts'
import { UsageError } from './exit-codes.ts'
import { type StartOffset, parseStartOffset } from './start-offset.ts'
import { examples, type GlobalOptions, keyValue, globalsOf, whole } from './options.ts'
import { writeJson, writeText } from './output.ts'
import { formatBytes, formatFields, formatTable } from './table.ts'

interface CreateOptions {
  readonly partitions?: number
  readonly config?: Record<string, string>
  readonly ifNotExists?: boolean
}

interface AlterOptions {
  readonly config?: Record<string, string>
  readonly partitions?: number
}

interface TrimOptions {
  readonly before: StartOffset
  readonly partition?: number
  readonly dryRun?: boolean
}

/** Adds the command and its verbs. */
export function addTopicCommand(program: Command): void {
  const topic = program
    .command('topic')
    .description('create, list, describe, delete, alter and trim topics')
  topic
    .command('create')
    .description('create a topic')
    .argument('<name>', 'letters, digits, dot, underscore and hyphen, at most 249')
    .option(
      '--partitions <n>',
      "number of partitions (default: the broker's num.partitions)",
      whole(1),
    )
    .option('--config <key=value>', 'a topic setting, repeatable', keyValue)
    .option('--if-not-exists', 'succeed when the topic exists already')
    .addHelpText(
      'after',
      examples(
        'logloom topic create orders --partitions 4',
        'logloom topic create big --config max.message.bytes=65536 --if-not-exists',
      ),
    )
    .action((name: string, o: CreateOptions, command: Command) =>
      create(name, { ...o, ...globalsOf(command) }),
    )
  topic
    .command('list')
    .description('list all topics')
    .addHelpText('after', examples('logloom topic list', 'logloom topic list --format json'))
    .action((_, command: Command) => list(globalsOf(command)))
  topic
    .command('describe')
    .description('show the settings of a topic and the offsets of its partitions')
    .argument('<name>')
    .addHelpText('after', examples('logloom topic describe orders'))
    .action((name: string, _, command: Command) => describe(name, globalsOf(command)))
  topic
    .command('delete')
    .description('delete a topic and its records')
    .argument('<name>')
    .addHelpText('after', examples('logloom topic delete orders'))
    .action((name: string, _, command: Command) => remove(name, globalsOf(command)))
  topic
    .command('alter')
    .description('change settings of a topic, or add partitions to it while it is in use')
    .argument('<name>')
    .option(
      '--config <key=value>',
      'a topic setting, repeatable; others stay as they are',
      keyValue,
    )
    .option('--partitions <n>', 'number of partitions, more than there are', whole(1))
    .addHelpText(
      'after',
      examples(
        'logloom topic alter orders --config max.message.bytes=65536',
        'logloom topic alter orders --partitions 12',
      ),
    )
    .action((name: string, o: AlterOptions, command: Command) =>
      alter(name, { ...o, ...globalsOf(command) }),
    )
  topic
    .command('trim')
    .description('delete the records of a topic before an offset, a time or its end')
    .argument('<name>')
    .requiredOption(
      '--before <where>',
      'end, an offset N, -N to keep the last N of each partition, or @TIME (ISO or milliseconds)',
      parseStartOffset,
    )
    .option('--partition <n>', 'this partition only (default: all)', whole(0))
    .option('--dry-run', 'only say what would go')
    .addHelpText(
      'after',
      examples(
        'logloom topic trim orders --before @2026-01-31T00:00:00Z',
        'logloom topic trim orders --before 1200 --partition 0 --dry-run',
      ),
    )
    .action((name: string, o: TrimOptions, command: Command) =>
      trim(name, { ...o, ...globalsOf(command) }),
    )
}

function create(name: string, o: CreateOptions & GlobalOptions): Promise<void> {
  return withBroker(o.url, async client => {
    const { partitions, config, ifNotExists = false } = o
    const topic = {
      topic: name,
      ...(partitions === undefined ? {} : { partitions }),
      ...(config === undefined ? {} : { config }),
    }
    const created = await client.admin().createTopic(topic, { ifNotExists })
    if (o.format === 'json') return writeJson(created)
    const state = created.created ? 'created' : 'exists'
    return writeText(`${state} ${created.topic} partitions=${created.partitions}\n`)
  })
}

function list(o: GlobalOptions): Promise<void> {
  return withBroker(o.url, async client => {
    const topics = await client.admin().listTopics()
    if (o.format === 'json') return writeJson({ topics })
    const rows = topics.map(t => [t.topic, t.partitions, t.records, formatBytes(t.bytes)])
    return writeText(formatTable(['NAME', 'PARTITIONS', 'RECORDS', 'SIZE'], rows))
  })
}

function describe(name: string, o: GlobalOptions): Promise<void> {
  return withBroker(o.url, async client => {
    const topic = await client.admin().describeTopic(name)
    if (o.format === 'json') return writeJson(topic)
    const config = Object.entries(topic.config).map(([key, value]) => `${key}=${value}`)
    const fields = formatFields({
      NAME: topic.topic,
      ID: topic.topicId,
      PARTITIONS: topic.partitions.length,
      CREATED: new Date(topic.createdAt).toISOString(),
      CONFIG: config.join(' ') || null,
      ...(topic.owner === undefined ? {} : { OWNER: topic.owner }),
    })
    const rows = topic.partitions.map(({ partition, startOffset, endOffset, bytes }) => {
      return [partition, startOffset, endOffset, endOffset - startOffset, formatBytes(bytes)]
    })
    const header = ['PARTITION', 'START', 'END', 'RECORDS', 'SIZE']
    return writeText(`${fields}\n${formatTable(header, rows)}`)
  })
}

function remove(name: string, o: GlobalOptions): Promise<void> {
  return withBroker(o.url, async client => {
    const deleted = await client.admin().deleteTopic(name)
    if (o.format === 'json') return writeJson(deleted)
    return writeText(`deleted ${deleted.topic}\n`)
  })
}

function alter(name: string, o: AlterOptions & GlobalOptions): Promise<void> {
  const { partitions, config } = o
  if (partitions === undefined && config === undefined)
    throw new UsageError('topic alter: give --config, --partitions or both')
  return withBroker(o.url, async client => {
    const admin = client.admin()
    if (partitions === undefined) {
      const altered = await admin.alterTopic(name, config ?? {})
      if (o.format === 'json') return writeJson(altered)
      return writeText(`altered ${altered.topic}${settingsOf(altered.config)}\n`)
    }
    const altered = await admin.createPartitions(name, partitions, config && { config })
    if (o.format === 'json') return writeJson(altered)
    const settings = settingsOf(altered.config)
    return writeText(`altered ${altered.topic} partitions=${altered.partitions}${settings}\n`)
  })
}

function settingsOf(config: Readonly<Record<string, string>>): string {
  return Object.entries(config)
    .map(([key, value]) => ` ${key}=${value}`)
    .join('')
}

function trim(name: string, o: TrimOptions & GlobalOptions): Promise<void> {
  return withBroker(o.url, async client => {
    const admin = client.admin()
    const { before, partition: only } = o
    const { partitions } = await admin.describeTopic(name)
    if (typeof before === 'number' && only === undefined && partitions.length > 1)
      throw new UsageError(
        `${name} has ${partitions.length} partitions: an offset needs --partition; a time, -N and end do not`,
      )
    const asked = only === undefined ? {} : { partition: only }
    const trimmed: { partition: number; startOffset: number; deleted: number }[] = []
    for (const { partition, offset } of await admin.listOffsets(name, before, asked)) {
      const was = partitions[partition]?.startOffset ?? 0
      const { startOffset } =
        o.dryRun === true
          ? { startOffset: Math.max(was, offset) }
          : await admin.deleteRecords(name, partition, offset)
      trimmed.push({ partition, startOffset, deleted: startOffset - was })
    }
    if (o.format === 'json')
      return writeJson({ topic: name, dryRun: o.dryRun === true, partitions: trimmed })
    const rows = trimmed.map(({ partition, startOffset, deleted }) => [
      partition,
      startOffset,
      deleted,
    ])
    return writeText(formatTable(['PARTITION', 'START', o.dryRun ? 'WOULD GO' : 'DELETED'], rows))
  })
}

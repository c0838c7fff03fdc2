// `logloom quota …`: what principals may use at most.

import { type Command, InvalidArgumentError } from 'commander'
import type { Quota } from '../../client/index.ts'
import { withBroker } from './broker-client.ts'
import { UsageError } from './exit-codes.ts'
import { examples, type GlobalOptions, globalsOf } from './options.ts'
import { writeJson, writeText } from './output.ts'
import { formatTable } from './table.ts'

type Kind = keyof Quota
/** `none`: not limited any more. */
type Limits = Partial<Record<Kind, number | 'none'>>

const kinds: readonly (readonly [kind: Kind, flag: string, help: string])[] = [
  ['producerByteRate', '--producer-byte-rate <bytes>', 'bytes written per second'],
  ['consumerByteRate', '--consumer-byte-rate <bytes>', 'bytes read per second'],
  ['requestRate', '--request-rate <count>', 'requests per second'],
  ['connections', '--connections <count>', 'open connections'],
  ['inFlightBytes', '--in-flight-bytes <bytes>', 'bytes of unanswered requests'],
  ['topics', '--topics <count>', 'topics that it made'],
  ['partitions', '--partitions <count>', 'partitions of these'],
]

/** Adds the command and its verbs. */
export function addQuotaCommand(program: Command): void {
  const quota = program.command('quota').description('set, list and delete what principals may use')
  const set = quota
    .command('set')
    .description('limit a principal; what is not given stays as it is, none takes a limit away')
    .argument('<principal>', "User:NAME, or 'User:*' for all that have no such limit of their own")
  for (const [, flag, help] of kinds) set.option(flag, help, amount)
  set
    .addHelpText(
      'after',
      examples(
        'logloom quota set User:alice --producer-byte-rate 1048576 --connections 10',
        "logloom quota set 'User:*' --request-rate 500",
        'logloom quota set User:alice --connections none',
      ),
    )
    .action((principal: string, o: Limits, command: Command) =>
      change(principal, o, globalsOf(command)),
    )
  quota
    .command('list')
    .description('list the quotas')
    .addHelpText('after', examples('logloom quota list'))
    .action((_, command: Command) => list(globalsOf(command)))
  quota
    .command('delete')
    .description('take all limits of a principal away; those of User:* hold for it then')
    .argument('<principal>')
    .addHelpText('after', examples('logloom quota delete User:alice'))
    .action((principal: string, _, command: Command) => remove(principal, globalsOf(command)))
}

function change(principal: string, given: Limits, { url, format }: GlobalOptions): Promise<void> {
  if (!kinds.some(([kind]) => given[kind] !== undefined))
    throw new UsageError(`quota set: give a limit, such as --request-rate`)
  return withBroker(url, async client => {
    const all = await client.admin().listQuotas()
    const before: Quota = all.find(each => each.principal === principal)?.quota ?? {}
    const after: Partial<Record<Kind, number>> = {}
    for (const [kind] of kinds) {
      const value = given[kind] ?? before[kind]
      if (typeof value === 'number') after[kind] = value
    }
    const quota = Object.keys(after).length === 0 ? null : after
    const set = await client.admin().setQuota(principal, quota)
    if (format === 'json') return writeJson(set)
    return writeText(tableOf([{ principal, quota: set.quota ?? {} }]))
  })
}

function list({ url, format }: GlobalOptions): Promise<void> {
  return withBroker(url, async client => {
    const quotas = await client.admin().listQuotas()
    return format === 'json' ? writeJson({ quotas }) : writeText(tableOf(quotas))
  })
}

function remove(principal: string, { url, format }: GlobalOptions): Promise<void> {
  return withBroker(url, async client => {
    const removed = await client.admin().setQuota(principal, null)
    if (format === 'json') return writeJson(removed)
    return writeText(`${principal} has no limits of its own\n`)
  })
}

function tableOf(quotas: readonly { readonly principal: string; readonly quota: Quota }[]): string {
  const heads = [
    'WRITE B/S',
    'READ B/S',
    'REQUESTS/S',
    'CONNECTIONS',
    'IN FLIGHT',
    'TOPICS',
    'PARTITIONS',
  ]
  const rows = quotas.map(({ principal, quota }) => [
    principal,
    ...kinds.map(([kind]) => quota[kind] ?? null),
  ])
  return formatTable(['PRINCIPAL', ...heads], rows)
}

function amount(text: string): number | 'none' {
  if (text === 'none') return text
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= 1) return value
  throw new InvalidArgumentError('It must be a whole number, at least 1, or none.')
}

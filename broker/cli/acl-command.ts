// `logloom acl …`: who may do what, with the flags of kafka-acls.

import { type Command, InvalidArgumentError } from 'commander'
import type { AclBinding, AclFilter, NewAclBinding } from '../../client/index.ts'
import { withBroker } from './broker-client.ts'
import { UsageError } from './exit-codes.ts'
import { examples, type GlobalOptions, globalsOf } from './options.ts'
import { writeJson, writeText } from './output.ts'
import { formatTable } from './table.ts'

interface RuleOptions {
  readonly allowPrincipal?: readonly string[]
  readonly denyPrincipal?: readonly string[]
  readonly operation?: readonly AclBinding['operation'][]
  readonly topic?: readonly string[]
  readonly group?: readonly string[]
  readonly cluster?: boolean
  readonly pattern?: AclFilter['pattern']
  readonly dryRun?: boolean
  readonly all?: boolean
}

type Given = RuleOptions & GlobalOptions
type Whose = Pick<AclFilter, 'principal' | 'permission'>
type What = Pick<AclFilter, 'resource' | 'name' | 'pattern'>

/** Adds the command and its verbs. */
export function addAclCommand(program: Command): void {
  const acl = program.command('acl').description('create, list and delete rules of who may do what')
  rules(acl.command('create'))
    .description('allow principals, or deny them, operations on topics, groups or the cluster')
    .option('--pattern <kind>', 'literal, or prefixed: all names that begin so', pattern)
    .option('--dry-run', 'only show what would be created')
    .addHelpText(
      'after',
      examples(
        'logloom acl create --allow-principal User:alice --operation read,write --topic orders',
        "logloom acl create --allow-principal 'User:*' --operation read --topic pub- --pattern prefixed",
        'logloom acl create --deny-principal User:bob --operation read --topic salaries',
        'logloom acl create --allow-principal User:ops --operation alter,describe --cluster',
      ),
    )
    .action((o: RuleOptions, command: Command) => create({ ...o, ...globalsOf(command) }))
  rules(acl.command('list'))
    .description('list the rules, or those that fit')
    .option(
      '--pattern <kind>',
      'literal, prefixed, or match: those that cover the name',
      filterPattern,
    )
    .addHelpText(
      'after',
      examples('logloom acl list', 'logloom acl list --topic orders --pattern match'),
    )
    .action((o: RuleOptions, command: Command) => list({ ...o, ...globalsOf(command) }))
  rules(acl.command('delete'))
    .description('delete the rules that fit')
    .option(
      '--pattern <kind>',
      'literal, prefixed, or match: those that cover the name',
      filterPattern,
    )
    .option('--all', 'every rule that there is')
    .option('--dry-run', 'only show what would be deleted')
    .addHelpText(
      'after',
      examples(
        'logloom acl delete --allow-principal User:alice --topic orders --dry-run',
        'logloom acl delete --allow-principal User:alice --deny-principal User:alice',
      ),
    )
    .action((o: RuleOptions, command: Command) => remove({ ...o, ...globalsOf(command) }))
}

function rules(command: Command): Command {
  return command
    .option('--allow-principal <name>', "User:NAME, or 'User:*' for everybody; repeatable", collect)
    .option('--deny-principal <name>', 'the same, denied: this wins; repeatable', collect)
    .option(
      '--operation <list>',
      'read, write, create, delete, alter, describe, or all',
      operations,
    )
    .option('--topic <name>', "of a topic, '*' for all; repeatable", collect)
    .option('--group <name>', "of a group, '*' for all; repeatable", collect)
    .option('--cluster', 'the cluster itself')
}

function create(o: Given): Promise<void> {
  const bindings = filtersOf(o).map(bindingOf)
  return withBroker(o.url, async client => {
    const isDry = o.dryRun === true
    const created = isDry ? 0 : (await client.admin().createAcls(bindings)).created
    if (o.format === 'json') return writeJson({ bindings, created, dryRun: isDry })
    const known = bindings.length - created
    const text = isDry
      ? `would create ${bindings.length} rules\n`
      : `created ${created} rules${known > 0 ? `, ${known} were there` : ''}\n`
    return writeText(tableOf(bindings) + text)
  })
}

function list(o: Given): Promise<void> {
  const filters = filtersOf(o)
  return withBroker(o.url, async client => {
    const bindings = await eachOnce(filters, filter => client.admin().listAcls({ filter }))
    return o.format === 'json' ? writeJson({ bindings }) : writeText(tableOf(bindings))
  })
}

function remove(o: Given): Promise<void> {
  const filters = filtersOf(o)
  const isEverything = filters.some(filter => Object.keys(filter).length === 0)
  if (isEverything && o.all !== true)
    throw new UsageError('acl delete: say which rules, or give --all')
  if (!isEverything && o.all === true) throw new UsageError('acl delete: --all takes no others')
  const dryRun = o.dryRun === true
  return withBroker(o.url, async client => {
    const deleted = await eachOnce(filters, filter => client.admin().deleteAcls(filter, { dryRun }))
    if (o.format === 'json') return writeJson({ deleted, dryRun })
    const verb = dryRun ? 'would delete' : 'deleted'
    return writeText(`${tableOf(deleted)}${verb} ${deleted.length} rules\n`)
  })
}

/** Every combination of whose, what and which operation. */
function filtersOf(o: RuleOptions): readonly AclFilter[] {
  const whose: Whose[] = [
    ...(o.allowPrincipal ?? []).map(principal => ({ principal, permission: 'allow' as const })),
    ...(o.denyPrincipal ?? []).map(principal => ({ principal, permission: 'deny' as const })),
  ]
  const kind = o.pattern === undefined ? {} : { pattern: o.pattern }
  const what: What[] = [
    ...(o.topic ?? []).map(name => ({ resource: 'topic' as const, name, ...kind })),
    ...(o.group ?? []).map(name => ({ resource: 'group' as const, name, ...kind })),
    ...(o.cluster === true ? [{ resource: 'cluster' as const }] : []),
  ]
  const which = (o.operation ?? []).map(operation => ({ operation }))
  const any = [o.pattern === undefined || what.length > 0 ? {} : kind]
  return orAny(whose).flatMap(a =>
    (what.length > 0 ? what : any).flatMap(b => orAny(which).map(c => ({ ...a, ...b, ...c }))),
  )
}

function orAny<T extends object>(list: readonly T[]): readonly Partial<T>[] {
  return list.length > 0 ? list : [{}]
}

/** @throws UsageError naming what is missing */
function bindingOf({
  principal,
  permission,
  resource,
  operation,
  name,
  pattern: kind,
}: AclFilter): NewAclBinding {
  if (principal === undefined || permission === undefined)
    throw new UsageError('acl create: give --allow-principal or --deny-principal')
  if (resource === undefined) throw new UsageError('acl create: give --topic, --group or --cluster')
  if (operation === undefined) throw new UsageError('acl create: give --operation')
  return {
    principal,
    permission,
    resource,
    operation,
    ...(name === undefined ? {} : { name }),
    pattern: kind === 'prefixed' ? 'prefixed' : 'literal',
  }
}

async function eachOnce(
  filters: readonly AclFilter[],
  find: (filter: AclFilter) => Promise<readonly AclBinding[]>,
): Promise<readonly AclBinding[]> {
  const found = new Map<string, AclBinding>()
  for (const filter of filters)
    for (const binding of await find(filter)) found.set(JSON.stringify(binding), binding)
  return [...found.values()]
}

function tableOf(bindings: readonly NewAclBinding[]): string {
  const rows = bindings.map(
    ({ principal, permission = 'allow', resource, pattern: kind = 'literal', name, operation }) => [
      principal,
      permission,
      operation,
      resource,
      kind,
      name ?? 'logloom',
    ],
  )
  const heads = ['PRINCIPAL', 'PERMISSION', 'OPERATION', 'RESOURCE', 'PATTERN', 'NAME']
  return formatTable(heads, rows)
}

const known = ['read', 'write', 'create', 'delete', 'alter', 'describe'] as const

function operations(text: string): readonly AclBinding['operation'][] {
  if (text.trim() === 'all') return known
  return text.split(',').map(each => {
    const found = known.find(name => name === each.trim().toLowerCase())
    if (found === undefined)
      throw new InvalidArgumentError(`Use some of ${known.join(', ')}, or all.`)
    return found
  })
}

function pattern(text: string): AclFilter['pattern'] {
  if (text === 'literal' || text === 'prefixed') return text
  throw new InvalidArgumentError('It must be literal or prefixed.')
}

function filterPattern(text: string): AclFilter['pattern'] {
  return text === 'match' ? text : pattern(text)
}

function collect(text: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, text]
}

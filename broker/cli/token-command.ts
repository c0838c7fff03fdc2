// `logloom token …`: API keys, and short-lived tokens made with one.

import { type Command, InvalidArgumentError } from 'commander'
import type { ScopeGrant } from '../../client/index.ts'
import { withBroker } from './broker-client.ts'
import { UsageError } from './exit-codes.ts'
import { examples, type GlobalOptions, globalsOf } from './options.ts'
import { writeJson, writeText } from './output.ts'
import { formatTable } from './table.ts'

interface CreateOptions {
  readonly principal: string
  readonly ttl?: number
  readonly description?: string
}

interface MintOptions {
  readonly topic?: readonly string[]
  readonly group?: readonly string[]
  readonly operation: readonly ScopeGrant['operations'][number][]
  readonly ttl?: number
}

/** Adds the command and its verbs. */
export function addTokenCommand(program: Command): void {
  const token = program.command('token').description('create, list, revoke and mint tokens')
  token
    .command('create')
    .description('make an API key; it is printed once, and the log has only its hash')
    .requiredOption('--principal <name>', 'whose it is: User:alice')
    .option('--ttl <time>', 'it ends after this time: 90m, 12h, 30d (default: never)', duration)
    .option('--description <text>', 'what it is for')
    .addHelpText(
      'after',
      examples(
        'logloom token create --principal User:alice',
        "logloom token create --principal User:ci --ttl 30d --description 'nightly build' > ci.token",
      ),
    )
    .action((o: CreateOptions, command: Command) => create({ ...o, ...globalsOf(command) }))
  token
    .command('list')
    .description('list the API keys: whose they are and until when, never the keys themselves')
    .addHelpText('after', examples('logloom token list'))
    .action((_, command: Command) => list(globalsOf(command)))
  token
    .command('revoke')
    .description('end an API key, the connections that came with it and what was minted with it')
    .argument('<id>', 'as in `logloom token list`')
    .addHelpText('after', examples('logloom token revoke k3j9x0q2m5v8t1aa'))
    .action((id: string, _, command: Command) => revoke(id, globalsOf(command)))
  token
    .command('mint')
    .description('make a short-lived token that can do only this, of what you may: for a web page')
    .option('--topic <name>', 'a topic, or NAME* for those that begin so; repeatable', collect)
    .option('--group <name>', 'a group, or NAME*; repeatable', collect)
    .requiredOption(
      '--operation <list>',
      'read, write, create, delete, alter, describe',
      operations,
    )
    .option('--ttl <time>', 'it ends after this time: 90s, 15m, 24h (default: 15m)', duration)
    .addHelpText(
      'after',
      examples(
        'logloom token mint --topic chat --operation read,write --ttl 15m',
        "logloom token mint --topic 'orders-*' --group page --operation read",
      ),
    )
    .action((o: MintOptions, command: Command) => mint({ ...o, ...globalsOf(command) }))
}

function create(o: CreateOptions & GlobalOptions): Promise<void> {
  return withBroker(o.url, async client => {
    const { principal, ttl, description } = o
    const made = await client.admin().createToken({
      principal,
      ...(ttl === undefined ? {} : { ttlMs: ttl }),
      ...(description === undefined ? {} : { description }),
    })
    if (o.format === 'json') return writeJson(made)
    return writeText(`${made.token}\n`)
  })
}

function list(o: GlobalOptions): Promise<void> {
  return withBroker(o.url, async client => {
    const tokens = await client.admin().listTokens()
    if (o.format === 'json') return writeJson({ tokens })
    const rows = tokens.map(({ tokenId, principal, createdAt, expiresAt, description }) => [
      tokenId,
      principal,
      iso(createdAt),
      expiresAt === null ? 'never' : iso(expiresAt),
      description || null,
    ])
    return writeText(formatTable(['ID', 'PRINCIPAL', 'CREATED', 'EXPIRES', 'DESCRIPTION'], rows))
  })
}

function revoke(id: string, o: GlobalOptions): Promise<void> {
  return withBroker(o.url, async client => {
    const revoked = await client.admin().revokeToken(id)
    if (o.format === 'json') return writeJson(revoked)
    return writeText(`revoked ${revoked.tokenId} of ${revoked.principal}\n`)
  })
}

function mint(o: MintOptions & GlobalOptions): Promise<void> {
  const grants = [
    ...(o.topic ?? []).map(name => grant('topic', name, o.operation)),
    ...(o.group ?? []).map(name => grant('group', name, o.operation)),
  ]
  if (grants.length === 0) throw new UsageError('token mint: give --topic, --group or both')
  return withBroker(o.url, async client => {
    const { ttl } = o
    const minted = await client
      .admin()
      .mintToken({ grants, ...(ttl === undefined ? {} : { ttlMs: ttl }) })
    if (o.format === 'json') return writeJson(minted)
    return writeText(`${minted.token}\n`)
  })
}

function grant(
  resource: 'topic' | 'group',
  name: string,
  operations: ScopeGrant['operations'],
): ScopeGrant {
  const isBeginning = name.length > 1 && name.endsWith('*')
  return isBeginning
    ? { resource, pattern: 'prefixed', name: name.slice(0, -1), operations }
    : { resource, pattern: 'literal', name, operations }
}

const unitsMs = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

function duration(text: string): number {
  const [, number, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? []
  const ms = Number(number) * unitsMs[unit as keyof typeof unitsMs]
  if (Number.isSafeInteger(ms) && ms > 0) return ms
  throw new InvalidArgumentError('It must be a number with s, m, h or d: 90s, 15m, 12h, 30d.')
}

const known = ['read', 'write', 'create', 'delete', 'alter', 'describe'] as const

function operations(text: string): MintOptions['operation'] {
  return text.split(',').map(each => {
    const found = known.find(name => name === each.trim())
    if (found === undefined) throw new InvalidArgumentError(`Use some of ${known.join(', ')}.`)
    return found
  })
}

function collect(text: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, text]
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}

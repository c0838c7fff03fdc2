// Requests about API keys, ACL bindings, quotas and scopes, read as the gateway reads them and done by the state machine.
//
// Rules: a request is done, or refused with a code that says what is wrong with it. A filter deletes what its fields as they were sent allow,
// and never more: an unknown field, another type or a name too long must not widen it. What is stored means something, and is stored once. A
// token is never minted for more than was asked for, or than its maker has.

import { isDeepStrictEqual } from 'node:util'
import type { Connection } from '../../../broker/gateway/connection.ts'
import type { GatewayContext } from '../../../broker/gateway/context.ts'
import { mintToken } from '../../../broker/gateway/authentication.ts'
import {
  createAcls,
  createToken,
  deleteAcls,
  listAcls,
  listQuotas,
  listTokens,
  revokeToken,
  setQuota,
} from '../../../broker/gateway/security-admin.ts'
import { type AclBinding, bindingKey } from '../../../broker/security/acl.ts'
import { Authenticator } from '../../../broker/security/authenticator.ts'
import { readBinding } from '../../../broker/security/check-binding.ts'
import type { Principal } from '../../../broker/security/principal.ts'
import { ScopedTokens } from '../../../broker/security/scoped-tokens.ts'
import { resolveSettings } from '../../../broker/settings.ts'
import type { SecurityCommand } from '../../../broker/state/security/commands.ts'
import { SecurityMachine } from '../../../broker/state/security/security-machine.ts'
import { SecurityRegistry } from '../../../broker/state/security/security-registry.ts'
import { MemoryStore } from '../../../broker/state/memory-store.ts'
import { StateHash } from '../../../broker/state/state-hash.ts'
import { type Frame, packFrame, unpackFrame } from '../../../wire/frame.ts'
import { inTime } from '../in-time.ts'
import { filterFields, rightsFrom } from '../rights-maker.ts'
import { must, refusedWith, type Target } from '../target.ts'

const codes = new Set(
  'BAD_FRAME INVALID_REQUEST NUMBER_OUT_OF_RANGE LIMIT_EXCEEDED AUTHORIZATION_FAILED TOKEN_EXISTS UNKNOWN_TOKEN'.split(
    ' ',
  ),
)
const operations = {
  createAcls,
  deleteAcls,
  listAcls,
  setQuota,
  listQuotas,
  createToken,
  revokeToken,
  listTokens,
  mintToken,
}
type Operation = keyof typeof operations
const names = Object.keys(operations)
const now = 1_700_000_000_000
const perWorld = 500

const stored: readonly AclBinding[] = ['User:alice', 'User:bob', 'User:*'].flatMap(principal =>
  (['literal', 'prefixed'] as const).flatMap(pattern =>
    ['orders', 'o', 'x'.repeat(249)].flatMap(name =>
      (['allow', 'deny'] as const).map(
        (permission): AclBinding => ({
          principal,
          permission,
          resource: name === 'o' ? 'group' : 'topic',
          pattern,
          name,
          operation: 'read',
        }),
      ),
    ),
  ),
)

let world: World | undefined

export const acls: Target = {
  name: 'acls',
  bytesMax: 8192,
  seeds: () =>
    [
      {
        op: 'createAcls',
        bindings: [
          { ...stored[0] },
          { principal: 'User:c', resource: 'cluster', operation: 'alter' },
        ],
      },
      {
        op: 'deleteAcls',
        filter: { principal: 'User:alice', pattern: 'match', name: 'orders-eu' },
      },
      { op: 'deleteAcls', filter: { resource: 'topic', name: null }, dryRun: true },
      { op: 'deleteAcls', filter: {} },
      { op: 'deleteAcls', filter: { principle: 'User:alice' } },
      { op: 'listAcls', filter: { operation: 'read' } },
      { op: 'setQuota', principal: 'User:*', quota: { producerByteRate: 1000 } },
      { op: 'setQuota', principal: 'User:*', quota: null },
      {
        op: 'createToken',
        tokenId: 'c'.repeat(16),
        principal: 'User:c',
        hash: new Uint8Array(32),
        ttlMs: 1000,
      },
      { op: 'revokeToken', tokenId: 'a'.repeat(16) },
      { op: 'listTokens', after: 'a', limit: 10 },
      { op: 'listQuotas' },
      {
        op: 'mintToken',
        grants: [
          { resource: 'topic', pattern: 'literal', name: 't', operations: [{ toString: 1 }] },
        ],
      },
      {
        op: 'mintToken',
        grants: [{ resource: 'topic', pattern: 'prefixed', name: 'chat-', operations: ['read'] }],
        ttlMs: 60_000,
      },
    ].map(packFrame),
  generate: random => rightsFrom(random, names),
  run: input => {
    if (world === undefined || world.given > perWorld) world = new World()
    const its = world
    return inTime(input, () => its.give(input))
  },
  close: () => {
    world = undefined
    return Promise.resolve()
  },
}

class World {
  given = 0
  private readonly registry = new SecurityRegistry(new MemoryStore())
  private readonly machine = new SecurityMachine(this.registry, new StateHash())
  private readonly context: GatewayContext
  private readonly scopedTokens = new ScopedTokens(new Uint8Array(32))

  constructor() {
    const { registry, machine, scopedTokens } = this
    const settings = resolveSettings({ flags: { authentication: 'required' } })
    const fresh = (): Promise<void> => Promise.resolve()
    const logger = { info: () => {}, warn: () => {}, error: () => {} }
    const authenticator = new Authenticator({
      settings,
      adminToken: undefined,
      scopedTokens,
      keys: registry,
      fresh,
      logger,
    })
    const broker = {
      now,
      fresh,
      security: registry,
      propose: (command: SecurityCommand) => Promise.resolve(machine.apply(command, now)),
    }
    this.context = { broker, authenticator } as unknown as GatewayContext
    machine.apply({ type: 'createAcls', bindings: stored }, now)
    const key = { principal: 'User:alice', hash: new Uint8Array(32), description: '' }
    machine.apply({ type: 'createToken', id: 'a'.repeat(16), ...key }, now)
  }

  async give(input: Uint8Array): Promise<boolean> {
    this.given++
    const { registry, context } = this
    const before = [...registry.acls()]
    const quotas = [...registry.quotas()].length
    let frame: Frame
    try {
      frame = unpackFrame(Uint8Array.from(input))
      const { op } = frame
      if (typeof op !== 'string' || !Object.hasOwn(operations, op)) return false
      const connection = connectionOf(frame['limited'] === true)
      const reply = await operations[op as Operation](context, frame, connection)
      packFrame({ ...reply })
      this.check(op as Operation, frame, reply, before)
      return true
    } catch (error) {
      refusedWith(error, codes)
      must((error as Error).message.length < 2000, 'the error repeats what was sent')
      must(isDeepStrictEqual([...registry.acls()], before), 'refused, and bindings are others')
      must([...registry.quotas()].length === quotas, 'refused, and quotas are others')
      return false
    }
  }

  private check(op: Operation, frame: Frame, reply: Frame, before: readonly AclBinding[]): void {
    const { registry } = this
    const after = [...registry.acls()]
    if (op === 'deleteAcls' || op === 'listAcls') {
      const filter = (frame['filter'] ?? {}) as Frame
      const found = (reply['deleted'] ?? reply['bindings']) as readonly AclBinding[]
      for (const binding of found)
        must(meets(filter, binding), 'a filter finds what it does not name')
      const left = new Set(after.map(bindingKey))
      const isKept = op === 'listAcls' || frame['dryRun'] === true
      for (const binding of before) {
        const isFound = found.some(each => bindingKey(each) === bindingKey(binding))
        must(
          left.has(bindingKey(binding)) === (isKept || !isFound),
          'more or less was deleted than is said',
        )
        must(isFound || !meets(filter, binding), 'a filter does not find what it names')
      }
    } else must(after.length >= before.length, `${op} deletes bindings`)
    for (const binding of after.slice(before.length))
      must(
        isDeepStrictEqual(readBinding({ ...binding }), binding),
        'a binding that is read otherwise',
      )
    must(new Set(after.map(bindingKey)).size === after.length, 'a binding is stored twice')
    for (const [principal, quota] of registry.quotas()) {
      must(principal.startsWith('User:'), 'a quota of nobody')
      const limits = Object.values(quota)
      must(
        limits.length > 0 && limits.every(each => Number.isSafeInteger(each) && each > 0),
        'a quota that is none',
      )
    }
    for (const key of registry.apiKeys())
      must(
        /^[a-z0-9]{16}$/.test(key.id) && key.hash.length === 32 && key.principal !== 'User:*',
        'a key that is none',
      )
    if (op === 'mintToken') this.checkMinted(frame, String(reply['token']))
  }

  private checkMinted(frame: Frame, token: string): void {
    const found = this.scopedTokens.check(token, Date.now())
    must(typeof found !== 'string' && found.scope !== undefined, 'a token that is not taken')
    const asked = frame['grants'] as readonly Frame[]
    must(found.scope.length === asked.length, 'another number of grants')
    for (const [i, { resource, pattern, name, operations: granted }] of found.scope.entries()) {
      const wish = asked[i] as Frame
      const wished = wish['operations'] as readonly unknown[]
      must(
        resource === wish['resource'] &&
          pattern === wish['pattern'] &&
          name === wish['name'] &&
          granted.every(each => wished.map(String).includes(each)),
        'another grant than was asked for',
      )
      if (frame['limited'] !== true) continue
      const isInside = resource === 'topic' && name.startsWith('chat-')
      must(
        isInside && granted.every(each => each === 'read' || each === 'describe'),
        'more than its maker may',
      )
    }
  }
}

/** Who asks; with a scope of its own when `isLimited`. */
function connectionOf(isLimited: boolean): Connection {
  const scope = [
    { resource: 'topic', pattern: 'prefixed', name: 'chat-', operations: ['read'] },
  ] as const
  const principal: Principal = {
    name: 'User:alice',
    mechanism: 'none',
    superUser: false,
    tokenId: 'a'.repeat(16),
    ...(isLimited ? { scope } : {}),
  }
  return { principal, enterLane: () => () => {} } as unknown as Connection
}

/** The fields as they were sent, read once more: absent and nil are any. */
function meets(filter: Frame, binding: AclBinding): boolean {
  const wants = (field: string): unknown => filter[field] ?? undefined
  return filterFields.every(field => {
    const wanted = wants(field)
    if (wanted === undefined || (field === 'pattern' && wanted === 'match')) return true
    if (field !== 'name' || wants('pattern') !== 'match') return wanted === binding[field]
    const name = wanted as string
    if (binding.pattern === 'prefixed') return name.slice(0, binding.name.length) === binding.name
    return binding.name === '*' || binding.name === name
  })
}

// Who may do what (protocol.md 12.3). What is not allowed is denied; super users may do everything; a scope is a bound on top of that, for super
// users too.
//
// `Access` is what one connection may do: it keeps its decisions until the ACLs change, so a request pays one look-up. Knows nothing of operations.

import { LogloomError } from '../../wire/errors.ts'
import { AclIndex } from './acl-index.ts'
import type { AclBinding } from './acl.ts'
import {
  type AclOperation,
  aclOperations,
  allows,
  clusterName,
  type Grant,
  type Permission,
  type ResourceType,
  resourceTypes,
} from './grant.ts'
import type { Principal } from './principal.ts'

/** Where the bindings come from. */
export interface AclSource {
  /** Grows when the bindings change. */
  readonly aclVersion: number
  acls(): Iterable<AclBinding>
}

/** Decisions that a connection keeps; all are forgotten when there are more. */
const decisionsKeptMax = 128
/** No name that exists is longer: decisions about such are not kept. */
const keptNameLengthMax = 249
const shownNameLength = 100

export class Authorizer {
  private readonly source: AclSource
  private readonly superUsers: ReadonlySet<string>
  private index = new AclIndex([])
  private indexed = -1

  constructor(source: AclSource, superUsers: Iterable<string>) {
    this.source = source
    this.superUsers = new Set(superUsers)
  }

  get version(): number {
    return this.source.aclVersion
  }

  /** What the principal may do; undefined: everything. */
  accessOf(principal: Principal): Access | undefined {
    const isBound = principal.scope !== undefined || !this.isSuper(principal)
    return isBound ? new Access(this, principal) : undefined
  }

  allows(principal: Principal, permission: Permission): boolean {
    const { scope } = principal
    if (scope !== undefined && !allows(scope, permission)) return false
    return this.isSuper(principal) || this.decide(principal, permission) === 'allow'
  }

  /** `create` of the topic itself, or of the cluster unless it is denied of the topic. */
  allowsCreate(principal: Principal, topic: string): boolean {
    const own: Permission = { resource: 'topic', name: topic, operation: 'create' }
    const any: Permission = { resource: 'cluster', name: clusterName, operation: 'create' }
    const { scope } = principal
    if (scope !== undefined && !allows(scope, own) && !allows(scope, any)) return false
    if (this.isSuper(principal)) return true
    const verdict = this.decide(principal, own)
    return verdict === 'none' ? this.decide(principal, any) === 'allow' : verdict === 'allow'
  }

  /** Of everything whose name begins with `prefix`, be it there or not. */
  allowsAll(
    principal: Principal,
    resource: ResourceType,
    prefix: string,
    operation: AclOperation,
  ): boolean {
    const { scope } = principal
    if (scope !== undefined && !scope.some(grant => coversAll(grant, resource, prefix, operation)))
      return false
    if (this.isSuper(principal)) return true
    return this.current().allowsAll(principal.name, resource, prefix, operation)
  }

  private decide(principal: Principal, permission: Permission) {
    return this.current().decide(principal.name, permission)
  }

  private isSuper({ superUser, name }: Principal): boolean {
    return superUser || this.superUsers.has(name)
  }

  private current(): AclIndex {
    if (this.indexed !== this.version) {
      this.indexed = this.version
      this.index = new AclIndex(this.source.acls())
    }
    return this.index
  }
}

export class Access {
  readonly principal: Principal
  private readonly authorizer: Authorizer
  private version: number
  /** By resource and operation, then by name. */
  private readonly kept: (Map<string, boolean> | undefined)[] = []
  private count = 0

  constructor(authorizer: Authorizer, principal: Principal) {
    this.authorizer = authorizer
    this.principal = principal
    this.version = authorizer.version
  }

  may(resource: ResourceType, name: string, operation: AclOperation): boolean {
    if (this.version !== this.authorizer.version) this.forget()
    const slot = slots[resource] + slots[operation]
    const known = this.kept[slot]?.get(name)
    if (known !== undefined) return known
    const answer = this.authorizer.allows(this.principal, { resource, name, operation })
    if (name.length <= keptNameLengthMax) this.keep(slot, name, answer)
    return answer
  }

  /** As {@link may}, for one of many names that will not be asked of again soon. */
  maySee(resource: ResourceType, name: string): boolean {
    return this.authorizer.allows(this.principal, { resource, name, operation: 'describe' })
  }

  mayCreate(topic: string): boolean {
    return this.authorizer.allowsCreate(this.principal, topic)
  }

  /** @throws AUTHORIZATION_FAILED */
  must(resource: ResourceType, name: string, operation: AclOperation): void {
    if (!this.may(resource, name, operation)) throw this.denial(resource, name, operation)
  }

  /** @throws AUTHORIZATION_FAILED */
  mustCluster(operation: AclOperation): void {
    this.must('cluster', clusterName, operation)
  }

  /** @throws AUTHORIZATION_FAILED */
  mustCreate(topic: string): void {
    if (!this.mayCreate(topic)) throw this.denial('topic', topic, 'create')
  }

  /** Of all names that begin with `prefix`. @throws AUTHORIZATION_FAILED */
  mustAll(resource: ResourceType, prefix: string, operation: AclOperation): void {
    if (this.authorizer.allowsAll(this.principal, resource, prefix, operation)) return
    throw this.denial(resource, `${prefix}*`, operation)
  }

  /** The same whether there is something of the name or not. */
  denial(resource: ResourceType, fullName: string, operation: AclOperation): LogloomError {
    const principal = this.principal.name
    const name = fullName.slice(0, shownNameLength)
    const bound = this.principal.scope === undefined ? '' : ', at least not with this token'
    return new LogloomError(
      'AUTHORIZATION_FAILED',
      `${principal} may not ${operation} ${resource} ${name}${bound}`,
      { principal, operation, resource, name },
    )
  }

  /** As {@link denial}, of something that the request did not name: its name is told only to whoever may see it. */
  hiddenDenial(resource: ResourceType, name: string, operation: AclOperation): LogloomError {
    const shown = this.maySee(resource, name) ? name : '(one that you may not see)'
    return this.denial(resource, shown, operation)
  }

  private keep(slot: number, name: string, answer: boolean): void {
    if (this.count >= decisionsKeptMax) this.forget()
    this.count++
    const names = this.kept[slot]
    if (names === undefined) this.kept[slot] = new Map([[name, answer]])
    else names.set(name, answer)
  }

  private forget(): void {
    this.version = this.authorizer.version
    this.kept.length = 0
    this.count = 0
  }
}

const slots = Object.fromEntries([
  ...resourceTypes.map((resource, i) => [resource, i * aclOperations.length]),
  ...aclOperations.map((operation, i) => [operation, i]),
]) as Readonly<Record<ResourceType | AclOperation, number>>

function coversAll(
  grant: Grant,
  resource: ResourceType,
  prefix: string,
  operation: AclOperation,
): boolean {
  const isWide = grant.pattern === 'prefixed' ? prefix.startsWith(grant.name) : grant.name === '*'
  return isWide && allows([grant], { resource, name: prefix, operation })
}

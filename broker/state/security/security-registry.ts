// API keys, ACL bindings and quotas, in memory, with a row each in the state store. Whoever decides by them reads here, and hears of changes.

import type { AclBinding, AclFilter } from '../../security/acl.ts'
import { bindingKey, everyone, matches } from '../../security/acl.ts'
import type { ApiKey } from '../../security/api-key.ts'
import type { Quota } from '../../security/quota.ts'
import { packFrame } from '../../../wire/frame.ts'
import { aclKey, apiKeyKey, prefixRange, quotaKey } from '../keys.ts'
import { unpackOwn } from '../own-frame.ts'
import type { StateStore, StoreOp } from '../store.ts'

export const apiKeysMax = 100_000
export const aclBindingsMax = 10_000
/** Principals with a quota of their own. */
export const quotasMax = 10_000

/** The reading side. */
export interface SecurityView {
  /** Grows with every change; begins anew with the process. */
  readonly version: number
  /** Grows with the changes of ACLs alone. */
  readonly aclVersion: number
  readonly apiKeyCount: number
  apiKey(id: string): ApiKey | undefined
  apiKeys(): Iterable<ApiKey>
  acls(): Iterable<AclBinding>
  /** What holds for the principal: of each kind its own limit, else that of `User:*`. */
  quota(principal: string): Quota | undefined
  /** As they were set. */
  quotas(): Iterable<readonly [principal: string, quota: Quota]>
  /** Calls `fn` after changes took effect, once for all that came together. Returns the way to stop. */
  onChange(fn: () => void): () => void
}

interface StoredAcl {
  readonly id: number
  readonly binding: AclBinding
}

export class SecurityRegistry implements SecurityView {
  version = 0
  aclVersion = 0
  nextAclId = 1
  private readonly store: StateStore
  private readonly keys = new Map<string, ApiKey>()
  private readonly bindings = new Map<string, StoredAcl>()
  private readonly quotaOf = new Map<string, Quota>()
  private readonly listeners = new Set<() => void>()
  private changes: StoreOp[] = []
  private told = 0

  constructor(store: StateStore) {
    this.store = store
  }

  load(): void {
    for (const [, value] of this.store.range(prefixRange(14))) {
      const key = decodeApiKey(unpackOwn(value))
      this.keys.set(key.id, key)
    }
    for (const [, value] of this.store.range(prefixRange(15))) {
      const { id, ...binding } = unpackOwn(value) as unknown as AclBinding & { id: number }
      this.bindings.set(bindingKey(binding), { id, binding })
    }
    for (const [, value] of this.store.range(prefixRange(16))) {
      const row = unpackOwn(value)
      this.quotaOf.set(row.p as string, row.q as Quota)
    }
  }

  get apiKeyCount(): number {
    return this.keys.size
  }

  get aclCount(): number {
    return this.bindings.size
  }

  get quotaCount(): number {
    return this.quotaOf.size
  }

  /** Whether there is something that listeners have not heard of. */
  get hasNews(): boolean {
    return this.told !== this.version
  }

  apiKey(id: string): ApiKey | undefined {
    return this.keys.get(id)
  }

  apiKeys(): Iterable<ApiKey> {
    return this.keys.values()
  }

  *acls(): Iterable<AclBinding> {
    for (const { binding } of this.bindings.values()) yield binding
  }

  quota(principal: string): Quota | undefined {
    const own = this.quotaOf.get(principal)
    const common = this.quotaOf.get(everyone)
    return own === undefined || common === undefined ? (own ?? common) : { ...common, ...own }
  }

  ownQuota(principal: string): Quota | undefined {
    return this.quotaOf.get(principal)
  }

  quotas(): Iterable<readonly [string, Quota]> {
    return this.quotaOf
  }

  onChange(fn: () => void): () => void {
    this.listeners.add(fn)
    return () => {
      this.listeners.delete(fn)
    }
  }

  /** To be called when no entry is being applied: a listener must not be able to disturb that. */
  tell(): void {
    if (!this.hasNews) return
    this.told = this.version
    for (const listener of this.listeners) listener()
  }

  addKey(key: ApiKey): void {
    this.keys.set(key.id, key)
    this.changed({ type: 'put', key: apiKeyKey(key.id), value: encodeApiKey(key) })
  }

  removeKey(id: string): void {
    this.keys.delete(id)
    this.changed({ type: 'delete', key: apiKeyKey(id) })
  }

  hasAcl(binding: AclBinding): boolean {
    return this.bindings.has(bindingKey(binding))
  }

  addAcl(binding: AclBinding): void {
    const id = this.nextAclId++
    const { principal, permission, resource, pattern, name, operation } = binding
    const row = { id, principal, permission, resource, pattern, name, operation }
    this.bindings.set(bindingKey(binding), { id, binding })
    this.aclVersion++
    this.changed({ type: 'put', key: aclKey(id), value: packFrame(row) })
  }

  removeAcl(binding: AclBinding): void {
    const key = bindingKey(binding)
    const stored = this.bindings.get(key)
    if (stored === undefined) return
    this.bindings.delete(key)
    this.aclVersion++
    this.changed({ type: 'delete', key: aclKey(stored.id) })
  }

  /** In the order in which they were made. */
  aclsMatching(filter: AclFilter): readonly AclBinding[] {
    return [...this.acls()].filter(binding => matches(filter, binding))
  }

  setQuota(principal: string, quota: Quota | undefined): void {
    const key = quotaKey(principal)
    if (quota === undefined) {
      this.quotaOf.delete(principal)
      this.changed({ type: 'delete', key })
    } else {
      this.quotaOf.set(principal, quota)
      this.changed({ type: 'put', key, value: packFrame({ p: principal, q: quota }) })
    }
  }

  takeChanges(ops: StoreOp[]): void {
    ops.push(...this.changes)
    this.changes = []
  }

  private changed(op: StoreOp): void {
    this.version++
    this.changes.push(op)
  }
}

function encodeApiKey({ id, principal, hash, description, createdAt, expiresAt }: ApiKey) {
  const x = expiresAt === undefined ? {} : { x: expiresAt }
  return packFrame({ id, p: principal, h: hash, d: description, c: createdAt, ...x })
}

function decodeApiKey(row: Readonly<Record<string, unknown>>): ApiKey {
  const expiresAt = row.x as number | undefined
  return {
    id: row.id as string,
    principal: row.p as string,
    // Not a view of the store's page.
    hash: (row.h as Uint8Array).slice(),
    description: row.d as string,
    createdAt: row.c as number,
    ...(expiresAt === undefined ? {} : { expiresAt }),
  }
}

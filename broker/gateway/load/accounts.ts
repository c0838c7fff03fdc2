// The accounts of those who are connected, and of those who left in debt: reconnecting forgives nothing.

import { LogloomError } from '../../../wire/errors.ts'
import type { Quota, QuotaKind } from '../../security/quota.ts'
import { quotaKinds } from '../../security/quota.ts'
import type { Principal } from '../../security/principal.ts'
import type { Settings } from '../../settings.ts'
import { Account } from './account.ts'

/** Where quotas of principals come from. */
export interface QuotaSource {
  /** Changes with the quotas. */
  readonly version: number
  quota(principal: string): Quota | undefined
}

/** Of each kind the setting that holds for whoever has no quota of its own. */
export const quotaSettings = {
  producerByteRate: 'quotaProducerByteRate',
  consumerByteRate: 'quotaConsumerByteRate',
  requestRate: 'quotaRequestRate',
  connections: 'quotaConnections',
  inFlightBytes: 'quotaInFlightBytes',
  topics: 'quotaTopics',
  partitions: 'quotaPartitions',
} as const satisfies Record<QuotaKind, keyof Settings>

export class Accounts {
  private readonly source: QuotaSource
  private readonly defaults: Quota
  private readonly byName = new Map<string, Account>()

  constructor(settings: Settings, source: QuotaSource) {
    this.source = source
    this.defaults = defaultQuota(settings)
  }

  /** The account of a new connection. @throws QUOTA_EXCEEDED */
  enter(principal: Principal): Account {
    const account = this.accountOf(principal)
    this.refresh(account)
    const limit = account.quota.connections
    if (limit !== undefined && account.connections >= limit)
      throw quotaExceeded('connections', principal.name, limit, account.connections + 1, true)
    account.connections++
    return account
  }

  leave(account: Account): void {
    account.connections--
    const isIdle = account.connections === 0 && !account.hasDebt(performance.now())
    if (isIdle && this.byName.get(account.name) === account) this.byName.delete(account.name)
  }

  /** Brings the account's limits up to date. */
  refresh(account: Account): void {
    const { version } = this.source
    if (account.version === version) return
    account.version = version
    account.setQuota(this.quotaOf(account.name), performance.now())
  }

  /** What holds for a principal: of each kind its own limit, else that of `User:*`, else the setting. */
  quotaOf(principal: string): Quota {
    return { ...this.defaults, ...this.source.quota(principal) }
  }

  /** Forgets who left and has paid. */
  sweep(now: number): void {
    for (const [name, account] of this.byName)
      if (account.connections === 0 && !account.hasDebt(now)) this.byName.delete(name)
  }

  /** Those who proved who they are. */
  all(): Iterable<Account> {
    return this.byName.values()
  }

  private accountOf({ name, mechanism }: Principal): Account {
    // Nobody knows whose connection it is: fairness is between connections.
    if (mechanism === 'none') return new Account(name)
    let account = this.byName.get(name)
    if (account === undefined) {
      account = new Account(name)
      this.byName.set(name, account)
    }
    return account
  }
}

/** What the settings say; 0 is no limit. */
export function defaultQuota(settings: Settings): Quota {
  return Object.fromEntries(
    quotaKinds
      .map(kind => [kind, settings[quotaSettings[kind]]] as const)
      .filter(([, value]) => value > 0),
  )
}

export function quotaExceeded(
  kind: QuotaKind,
  principal: string,
  limit: number,
  actual: number,
  retriable = false,
): LogloomError {
  return new LogloomError(
    'QUOTA_EXCEEDED',
    `${principal} may have ${limit} ${kind === 'inFlightBytes' ? 'bytes in flight' : kind} (quota ${kind}), this would make ${actual}`,
    { quota: kind, principal, limit, actual },
    { retriable },
  )
}

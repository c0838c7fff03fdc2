// Principals and what they may have: shared by all their connections, kept over a reconnect.

import { describe, expect, it } from 'vitest'
import { Accounts, type QuotaSource } from '../../../broker/gateway/load/accounts.ts'
import { anonymous, type Principal } from '../../../broker/security/principal.ts'
import type { Quota } from '../../../broker/security/quota.ts'
import { resolveSettings } from '../../../broker/settings.ts'

const principal = (name: string): Principal => ({
  name: `User:${name}`,
  mechanism: 'api-key',
  superUser: false,
})

class Quotas implements QuotaSource {
  version = 0
  readonly of = new Map<string, Quota>()

  set(name: string, quota: Quota): void {
    this.of.set(`User:${name}`, quota)
    this.version++
  }

  quota(name: string): Quota | undefined {
    return this.of.get(name)
  }
}

function accountsWith(quotas: Quotas, flags: Record<string, number> = {}): Accounts {
  return new Accounts(resolveSettings({ flags }), quotas)
}

describe('the account of a principal', () => {
  it('is one for all its connections, and bounds their number', () => {
    const quotas = new Quotas()
    quotas.set('alice', { connections: 2 })
    const accounts = accountsWith(quotas)
    const alice = accounts.enter(principal('alice'))
    expect(accounts.enter(principal('alice'))).toBe(alice)
    expect(() => accounts.enter(principal('alice'))).toThrow(
      expect.objectContaining({
        code: 'QUOTA_EXCEEDED',
        retriable: true,
        details: { quota: 'connections', principal: 'User:alice', limit: 2, actual: 3 },
      }),
    )
    expect(accounts.enter(principal('bob'))).not.toBe(alice)
    accounts.leave(alice)
    expect(accounts.enter(principal('alice'))).toBe(alice)
  })

  it('follows its quota while it is connected; of each kind its own wins over the setting', () => {
    const quotas = new Quotas()
    const accounts = accountsWith(quotas, { quotaRequestRate: 5, quotaInFlightBytes: 100 })
    const alice = accounts.enter(principal('alice'))
    expect(alice.quota).toEqual({ requestRate: 5, inFlightBytes: 100 })
    quotas.set('alice', { requestRate: 1 })
    accounts.refresh(alice)
    expect(alice.quota).toEqual({ requestRate: 1, inFlightBytes: 100 })
    alice.inFlightBytes = 100
    expect(alice.isFull).toBe(true)
  })

  it('keeps its debt over a reconnect, until it is paid', () => {
    const quotas = new Quotas()
    quotas.set('alice', { producerByteRate: 1000 })
    const accounts = accountsWith(quotas)
    const alice = accounts.enter(principal('alice'))
    alice.pay('produce', 5000, performance.now())
    accounts.leave(alice)
    expect(accounts.enter(principal('alice'))).toBe(alice)
    accounts.leave(alice)
    accounts.sweep(performance.now())
    expect([...accounts.all()]).toEqual([alice])
    accounts.sweep(performance.now() + 5000)
    expect([...accounts.all()]).toEqual([])
  })

  it('is each connection’s own while nobody knows whose it is', () => {
    const accounts = accountsWith(new Quotas(), { quotaConnections: 1 })
    expect(accounts.enter(anonymous)).not.toBe(accounts.enter(anonymous))
    expect([...accounts.all()]).toEqual([])
  })

  it('wakes who waits for room, once there is some', () => {
    const quotas = new Quotas()
    quotas.set('alice', { inFlightBytes: 10 })
    const alice = accountsWith(quotas).enter(principal('alice'))
    let woken = 0
    const wake = (): void => {
      woken++
    }
    alice.inFlightBytes = 25
    alice.whenLess(wake)
    alice.whenLess(wake)
    alice.answered(10)
    expect(woken).toBe(0)
    alice.answered(10)
    expect(woken).toBe(1)
  })
})

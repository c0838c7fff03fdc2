// Who is a member and for how long: grace after an outage, sockets that outlive their broker's session, ends of sockets that cannot be told at once, and
// processes that come back after somebody took their place.

import { describe, expect, it } from 'vitest'
import { sweepGroupsOnce } from '../../broker/group-sweep.ts'
import { startBroker } from '../../broker/index.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'
import { nodeClock } from '../../loglets/node-clock.ts'
import { LogloomError } from '../../wire/errors.ts'
import { type Frame, RawClient } from '../gateway/raw-client.ts'

/** A machine played by one broker, which may start again. */
class Played {
  readonly store = new MemoryStore()
  machine = new StateMachine(this.store)
  time = 1_000_000
  session = 0
  private sequence = 0

  constructor() {
    this.open()
    this.run({ type: 'createTopic', topic: 't', partitions: 2, config: {}, ifNotExists: false })
  }

  open(): void {
    this.session = this.machine.applied
    this.sequence = 0
    this.machine.apply(this.session, {
      header: { session: -1, sequence: 0, stamp: this.time },
      bytes: 0,
      commands: [{ command: { type: 'open', node: 'n', incarnation: 'i' }, batchStarts: [] }],
    })
  }

  run(command: Command): Decision {
    const { applied } = this.machine.apply(this.machine.applied, {
      header: { session: this.session, sequence: this.sequence++, stamp: this.time },
      bytes: 0,
      commands: [{ command, batchStarts: [] }],
    })
    return applied[0]?.decisions[0] as Decision
  }

  join(memberId: string, instanceId?: string): Decision {
    return this.run({
      type: 'joinGroup',
      group: 'g',
      memberId,
      ...(instanceId === undefined ? {} : { instanceId }),
      topics: ['t'],
      assignor: 'sticky',
      sessionTimeoutMs: 45_000,
      rebalanceTimeoutMs: 300_000,
    })
  }

  sweep(): Promise<number> {
    return sweepGroupsOnce({
      machine: this.machine,
      clock: nodeClock,
      now: () => this.time,
      intervalMs: 1,
      retentionMs: 1_000_000,
      isActing: () => this.machine.sessions.isOldest(this.session),
      propose: async command => this.run(command),
    })
  }

  async rebuild(): Promise<void> {
    const changes = this.machine.takeChanges()
    await this.store.commit(changes.ops)
    changes.done()
    this.machine = new StateMachine(this.store)
  }

  members(): readonly string[] {
    return [...(this.machine.groups.registry.byName.get('g')?.members.keys() ?? [])]
  }

  commit(memberId: string): Decision {
    const offsets = [[1, 0, 0, 1, '']] as const
    return this.run({ type: 'commitOffsets', group: 'g', memberId, offsets })
  }
}

describe('an outage of all brokers', () => {
  it('costs no member its place: the session timeout begins anew, for those that were away before it, too', async () => {
    const played = new Played()
    played.join('a')
    played.join('b')
    played.run({ type: 'detachMember', group: 'g', memberId: 'a', attachment: 1 })
    played.time += 3_600_000
    played.open()
    expect(await played.sweep()).toBe(0)
    played.time += 44_999
    expect(await played.sweep()).toBe(0)
    expect(played.members()).toEqual(['a', 'b'])
    played.time += 1
    expect(await played.sweep()).toBe(1)
    expect(played.members()).toEqual([])
  })
})

describe('a process whose place another took', () => {
  it('does not get it back by joining again, and hears MEMBER_FENCED whatever it does', async () => {
    const played = new Played()
    played.join('old', 'i')
    expect(played.join('new', 'i')).toMatchObject({ ok: true })
    await played.rebuild()
    const { session } = played.machine.groups.registry.byName.get('g')?.members.get('new') ?? {}
    expect(session).toBe(played.session)
    const fenced = { ok: false, code: 'MEMBER_FENCED' }
    expect(played.join('old', 'i')).toMatchObject(fenced)
    expect(played.commit('old')).toMatchObject(fenced)
    expect(played.run({ type: 'leaveGroup', group: 'g', memberId: 'old' })).toMatchObject(fenced)
    expect(played.members()).toEqual(['new'])
    expect(played.commit('new')).toMatchObject({ ok: true })
  })
})

describe('a member that is connected', () => {
  const connected = async (): Promise<{
    readonly client: RawClient
    readonly running: Awaited<ReturnType<typeof startBroker>>
    readonly session: () => number | undefined
  }> => {
    const running = await startBroker({ loglet: 'memory', port: 0, groupSweepIntervalMs: 10 })
    const client = await RawClient.connect(running.url)
    await client.call('createTopic', { topic: 't' })
    await client.call('joinGroup', {
      group: 'g',
      memberId: 'm',
      topics: ['t'],
      sessionTimeoutMs: 20,
    })
    const session = (): number | undefined => running.broker.group('g')?.members.get('m')?.session
    return { client, running, session }
  }

  it('stays one when the session of its broker is closed by another broker', async () => {
    const { client, running, session } = await connected()
    const before = session() as number
    // It has effect when the session comes to the sequence that it names.
    while (session() === before)
      await running.broker.propose({ type: 'expire', session: before, next: 30 })
    await expect.poll(session, { interval: 5 }).toBeGreaterThan(before)
    expect(client.pushes.filter((p: Frame) => p['error'] !== undefined)).toEqual([])
    await client.close()
    await running.close()
  })

  it('is gone after its connection, also when the broker could take nothing just then', async () => {
    const { client, running } = await connected()
    const { broker } = running
    const propose = broker.propose.bind(broker)
    let refused = 0
    broker.propose = command => {
      if (command.type !== 'detachMember' || refused++ > 2) return propose(command)
      return Promise.reject(new LogloomError('THROTTLED', 'not now'))
    }
    await client.close()
    await expect.poll(() => broker.group('g'), { interval: 10, timeout: 20_000 }).toBeUndefined()
    expect(refused).toBeGreaterThan(2)
    await running.close()
  }, 30_000)
})

// Joins of a group that take effect late, while the log takes nothing: whoever asked has gone, has left, or has asked again meanwhile. A member that
// nobody is would hold its partitions for as long as the connection, or its broker, lives.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Broker } from '../../broker/broker.ts'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import type { Command } from '../../broker/state/commands.ts'
import { connect } from '../../client/index.ts'
import { RawClient } from './raw-client.ts'

/** What is proposed about groups waits, in its order, until it is let go. Promises settle once that has taken effect. */
class HeldGroups {
  private readonly waiting: { readonly command: Command; readonly go: () => Promise<void> }[] = []
  private isOpen = false

  constructor(broker: Broker) {
    const propose = broker.propose.bind(broker)
    broker.propose = command => {
      if (this.isOpen || !/Group$|Member$/.test(command.type)) return propose(command)
      return new Promise((resolve, reject) => {
        const go = (): Promise<void> => propose(command).then(resolve, reject)
        this.waiting.push({ command, go })
      })
    }
  }

  get held(): readonly string[] {
    return this.waiting.map(({ command }) => command.type)
  }

  async letOneGo(): Promise<void> {
    await this.waiting.shift()?.go()
  }

  async letAllGo(): Promise<void> {
    this.isOpen = true
    await Promise.all(this.waiting.splice(0).map(({ go }) => go()))
  }
}

let running: RunningBroker
let client: RawClient
let groups: HeldGroups

beforeEach(async () => {
  running = await startBroker({ loglet: 'memory', port: 0, groupSweepIntervalMs: 10 })
  client = await RawClient.connect(running.url)
  await client.call('createTopic', { topic: 't' })
  groups = new HeldGroups(running.broker)
})

afterEach(async () => {
  await client.close()
  await running.close()
})

const join = { group: 'g', memberId: 'm', topics: ['t'], sessionTimeoutMs: 20 }
const wait = { interval: 5, timeout: 20_000 }
const isHeld = (...commands: string[]): Promise<void> =>
  expect.poll(() => groups.held, wait).toEqual(commands)
const attachment = (): number | undefined => running.broker.group('g')?.members.get('m')?.attachment

/** Nobody is left of it, though the broker's session goes on. */
async function groupIsGone(): Promise<void> {
  await expect.poll(() => running.broker.group('g'), wait).toBeUndefined()
}

describe('a join that takes effect late', () => {
  it('makes no member that stays when its connection has ended', async () => {
    const answer = client.call('joinGroup', join).catch(() => 'closed')
    await isHeld('joinGroup')
    await client.close()
    expect(await answer).toBe('closed')
    await expect.poll(() => running.broker.group('g')).toBeUndefined()
    await groups.letOneGo()
    await isHeld('detachMember')
    expect(attachment()).toBe(1)
    await groups.letAllGo()
    await groupIsGone()
  })

  it.each([true, false])(
    'makes no member that stays when it has left meanwhile (stay: %s)',
    async stay => {
      const answer = client.call('joinGroup', join)
      await isHeld('joinGroup')
      const left = client.call('leaveGroup', { group: 'g', memberId: 'm', stay })
      if (stay) await left
      else await isHeld('joinGroup', 'leaveGroup')
      await groups.letAllGo()
      await Promise.all([answer, left])
      await groupIsGone()
    },
  )

  it('does not fence the member that has joined again on the same connection meanwhile', async () => {
    const first = client.call('joinGroup', join)
    await isHeld('joinGroup')
    const second = client.call('joinGroup', join)
    await isHeld('joinGroup', 'joinGroup')
    await groups.letOneGo()
    await first
    await groups.letAllGo()
    await second
    expect(attachment()).toBe(2)
    expect(client.pushes.filter(push => push['error'] !== undefined)).toEqual([])
    await client.call('leaveGroup', { group: 'g', memberId: 'm', stay: true })
    await groupIsGone()
  })
})

it('members whose groups and names look alike when they are put together are away together with their connection', async () => {
  const { broker, url } = running
  const member = (group: string, memberId: string): unknown =>
    client.call('joinGroup', { ...join, group, memberId })
  client = await RawClient.connect(url)
  const joined = [member('a/b', 'c'), member('a', 'b/c')]
  await isHeld('joinGroup', 'joinGroup')
  await groups.letAllGo()
  await Promise.all(joined)
  expect(broker.group('a/b')?.members.has('c')).toBe(true)
  await client.close()
  await expect
    .poll(() => [broker.group('a/b'), broker.group('a')], wait)
    .toEqual([undefined, undefined])
})

describe('a consumer that is closed before it has joined', () => {
  it.each([undefined, 'i'])(
    'leaves the group all the same (instance id: %s)',
    async groupInstanceId => {
      await using shared = await connect(running.url)
      const consumer = shared.consumer({
        groupId: 'g',
        topics: 't',
        sessionTimeoutMs: 20,
        ...(groupInstanceId === undefined ? {} : { groupInstanceId }),
      })
      const reading = consumer[Symbol.asyncIterator]().next()
      await isHeld('joinGroup')
      const closing = consumer.close()
      if (groupInstanceId === undefined) await isHeld('joinGroup', 'leaveGroup')
      else await closing
      await groups.letAllGo()
      await Promise.all([closing, reading])
      await groupIsGone()
      // Its connection is there for others.
      expect((await shared.admin().describeTopic('t')).topic).toBe('t')
    },
  )
})

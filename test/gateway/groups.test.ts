// Consumer groups on the wire (protocol.md 10), by a client that knows nothing but the protocol.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Frame, RawClient } from './raw-client.ts'
import { metric, scrape } from '../metrics-page.ts'

let broker: RunningBroker
const clients: RawClient[] = []

beforeEach(async () => {
  broker = await startBroker({ loglet: 'memory', port: 0, groupSweepIntervalMs: 20 })
})

afterEach(async () => {
  for (const client of clients.splice(0)) client.ws.terminate()
  await broker.close()
})

async function connect(): Promise<RawClient> {
  const client = await RawClient.connect(broker.url)
  clients.push(client)
  return client
}

const join = (client: RawClient, memberId: string, fields: Frame = {}): Promise<Frame> =>
  client.call('joinGroup', { group: 'g', memberId, topics: ['t'], ...fields })

const places = (list: unknown): string[] =>
  (list as { topic: string; partition: number }[]).map(p => `${p.topic}${p.partition}`)

/** The newest push to a member that satisfies the condition. */
async function pushed(
  client: RawClient,
  memberId: string,
  condition: (frame: Frame) => boolean,
): Promise<Frame> {
  for (;;) {
    const found = client.pushes.findLast(
      f => f['op'] === 'assignment' && f['memberId'] === memberId && condition(f),
    )
    if (found !== undefined) return found
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

async function commit(
  client: RawClient,
  memberId: string,
  assignment: Frame,
  partition: number,
  offset: number,
): Promise<Frame> {
  const place = (assignment['assigned'] as Frame[]).find(p => p['partition'] === partition)
  const offsets = [{ topic: 't', partition, offset, generation: place?.['generation'] ?? 0 }]
  return client.request('commitOffsets', { group: 'g', memberId, offsets })
}

async function withTopic(partitions = 4): Promise<RawClient> {
  const client = await connect()
  await client.call('createTopic', { topic: 't', partitions })
  const records = Array.from({ length: 20 }, (_, i) => ({
    topic: 't',
    partition: i % partitions,
    value: `${i}`,
  }))
  await client.call('publish', { records })
  return client
}

describe('members of a group', () => {
  it('share the partitions, and only what moves is asked back', async () => {
    const a = await withTopic()
    const first = await join(a, 'a')
    expect(places(first['assigned'])).toEqual(['t0', 't1', 't2', 't3'])
    const b = await connect()
    expect(await join(b, 'b')).toMatchObject({ assigned: [], revoking: [] })
    const asked = await pushed(a, 'a', f => (f['revoking'] as unknown[]).length > 0)
    expect(places(asked['assigned'])).toHaveLength(2)
    expect(asked['assigned']).toEqual(
      (first['assigned'] as Frame[]).filter(p =>
        places(asked['assigned']).includes(`t${String(p['partition'])}`),
      ),
    )
    const partitions = asked['revoking']
    await a.call('releasePartitions', { group: 'g', memberId: 'a', partitions })
    const given = await pushed(b, 'b', f => (f['assigned'] as unknown[]).length === 2)
    expect(places(given['assigned'])).toEqual(places(partitions))
  })

  it('commit what they hold, and a member that lost a partition does not', async () => {
    const a = await withTopic()
    const first = await join(a, 'a')
    expect((await commit(a, 'a', first, 3, 2))['error']).toBeUndefined()
    const b = await connect()
    await join(b, 'b')
    const asked = await pushed(a, 'a', f => (f['revoking'] as unknown[]).length > 0)
    const [moved] = asked['revoking'] as Frame[]
    const partition = moved?.['partition'] as number
    // Until it is given back it is still the owner's.
    expect((await commit(a, 'a', first, partition, 1))['error']).toBeUndefined()
    await a.call('releasePartitions', {
      group: 'g',
      memberId: 'a',
      partitions: asked['revoking'],
    })
    const given = await pushed(b, 'b', f => (f['assigned'] as unknown[]).length === 2)
    expect((given['assigned'] as Frame[]).find(p => p['partition'] === partition)?.['offset']).toBe(
      1,
    )
    expect((await commit(a, 'a', first, partition, 5))['error']).toMatchObject({
      code: 'STALE_GENERATION',
      topic: 't',
      partition,
      retriable: false,
    })
    const { offsets } = await a.call('fetchOffsets', { group: 'g' })
    expect((offsets as Frame[]).find(o => o['partition'] === partition)?.['offset']).toBe(1)
  })

  it('keep everything while they reconnect within the session timeout, and lose it afterwards', async () => {
    const a = await withTopic()
    const first = await join(a, 'a', { sessionTimeoutMs: 60_000 })
    a.ws.terminate()
    await a.closed
    const again = await connect()
    const second = await join(again, 'a', { sessionTimeoutMs: 60_000 })
    expect(second['assigned']).toEqual(first['assigned'])
    expect(second['generation']).toBe(first['generation'])
    // With a grace period of nothing the next one has all. A join on the same connection is no fence.
    await join(again, 'a', { sessionTimeoutMs: 0 })
    expect(again.pushes.filter(f => f['error'] !== undefined)).toEqual([])
    again.ws.terminate()
    const b = await connect()
    // The reply may tell it already.
    const isAll = (f: Frame): boolean => (f['assigned'] as unknown[]).length === 4
    if (!isAll(await join(b, 'b'))) await pushed(b, 'b', isAll)
    expect((await commit(b, 'a', first, 0, 1))['error']).toMatchObject({ code: 'UNKNOWN_MEMBER' })
  })

  it('are replaced at once by a restart with the same instance id, and told so', async () => {
    const a = await withTopic()
    const first = await join(a, 'a', { groupInstanceId: 'i' })
    const b = await connect()
    const second = await join(b, 'b', { groupInstanceId: 'i' })
    expect(second['assigned']).toEqual(first['assigned'])
    expect(second['generation']).toBe(first['generation'])
    const told = await pushed(a, 'a', f => f['error'] !== undefined)
    expect(told['error']).toMatchObject({ code: 'MEMBER_FENCED' })
    expect((await commit(a, 'a', first, 0, 1))['error']).toMatchObject({ code: 'MEMBER_FENCED' })
    expect((await commit(b, 'b', second, 0, 1))['error']).toBeUndefined()
  })

  it('get the topics that match their pattern, those of later too', async () => {
    const a = await withTopic(1)
    const first = await join(a, 'a', { topics: [], pattern: 't|u.*' })
    expect(places(first['assigned'])).toEqual(['t0'])
    await a.call('createTopic', { topic: 'users', partitions: 2 })
    const more = await pushed(a, 'a', f => (f['assigned'] as unknown[]).length === 3)
    expect(places(more['assigned'])).toEqual(['t0', 'users0', 'users1'])
    await a.call('deleteTopic', { topic: 'users' })
    await pushed(a, 'a', f => (f['assigned'] as unknown[]).length === 1 && f !== more)
  })

  it('are not stalled by a hostile pattern, and one that is no RE2 is refused', async () => {
    const a = await withTopic(1)
    const name = 'a'.repeat(200)
    await a.call('createTopic', { topic: name })
    expect(await join(a, 'a', { topics: [], pattern: '(a+)+b' })).toMatchObject({ assigned: [] })
    expect(
      await a.request('joinGroup', { group: 'g', memberId: 'b', pattern: '(a)\\1' }),
    ).toMatchObject({
      error: { code: 'INVALID_REQUEST', field: 'pattern' },
    })
    // Linear in the name is not enough when each character costs a thousand steps.
    const large = { group: 'g', memberId: 'b', pattern: '(a?){999}b' }
    expect(await a.request('joinGroup', large)).toMatchObject({ error: { limit: 400 } })
    const long = { group: 'g', memberId: 'b', pattern: 'x'.repeat(257) }
    expect(await a.request('joinGroup', long)).toMatchObject({ error: { limit: 256, actual: 257 } })
  })
})

describe('offsets of a group', () => {
  it('are taken whole or not at all, and never beyond the end', async () => {
    const a = await withTopic()
    await join(a, 'a')
    const { assigned } = await join(a, 'a')
    const generation = (assigned as Frame[])[0]?.['generation']
    const offsets = [
      { topic: 't', partition: 0, offset: 3, generation },
      { topic: 't', partition: 1, offset: 6, generation },
    ]
    expect(await a.request('commitOffsets', { group: 'g', memberId: 'a', offsets })).toMatchObject({
      error: { code: 'OFFSET_OUT_OF_RANGE', partition: 1, end: 5, actual: 6 },
    })
    expect(await a.call('fetchOffsets', { group: 'g' })).toMatchObject({ offsets: [] })
  })

  it('are not moved back by a late copy of an older commit', async () => {
    const a = await withTopic()
    const { assigned } = await join(a, 'a')
    const generation = (assigned as Frame[])[0]?.['generation']
    const put = (sequence: number, offset: number): Promise<Frame> =>
      a.call('commitOffsets', {
        group: 'g',
        memberId: 'a',
        sequence,
        offsets: [{ topic: 't', partition: 0, offset, generation }],
      })
    await put(1, 2)
    await put(2, 4)
    await put(1, 2)
    expect(await a.call('fetchOffsets', { group: 'g' })).toMatchObject({
      offsets: [{ partition: 0, offset: 4 }],
    })
  })

  it('take effect with the records of a publish, or neither does', async () => {
    const a = await withTopic()
    const { assigned } = await join(a, 'a')
    const generation = (assigned as Frame[])[0]?.['generation'] as number
    const publish = (by: number): Promise<Frame> =>
      a.request('publish', {
        records: [{ topic: 'out', value: 'made' }],
        commit: {
          group: 'g',
          memberId: 'a',
          offsets: [{ topic: 't', partition: 0, offset: 5, generation: by }],
        },
      })
    expect(await publish(generation + 7)).toMatchObject({ error: { code: 'STALE_GENERATION' } })
    expect(await a.call('listOffsets', { topic: 'out', at: 'end' })).toMatchObject({
      offsets: [{ offset: 0 }],
    })
    expect((await publish(generation))['error']).toBeUndefined()
    expect(await a.call('listOffsets', { topic: 'out', at: 'end' })).toMatchObject({
      offsets: [{ offset: 1 }],
    })
    expect(await a.call('fetchOffsets', { group: 'g' })).toMatchObject({
      offsets: [{ partition: 0, offset: 5 }],
    })
  })

  it('are described with their lag in records and in time', async () => {
    const a = await withTopic()
    const joined = await join(a, 'a')
    await commit(a, 'a', joined, 0, 2)
    await commit(a, 'a', joined, 1, 5)
    const { partitions, state, members } = await a.call('describeGroup', { group: 'g' })
    expect(state).toBe('stable')
    expect(members).toMatchObject([{ memberId: 'a', attached: true, partitions: 4 }])
    const [p0, p1, p2] = partitions as Frame[]
    expect(p0).toMatchObject({ offset: 2, endOffset: 5, lag: 3, memberId: 'a' })
    expect(p0?.['lagMs']).toBeGreaterThanOrEqual(0)
    expect(p1).toMatchObject({ lag: 0, lagMs: 0 })
    expect(p2).toMatchObject({ offset: null, lag: null, lagMs: null })
    const { groups } = await a.call('listGroups', {})
    expect(groups).toMatchObject([{ group: 'g', members: 1, lag: 3, state: 'stable' }])
  })

  it('are reset only while nobody is there, to wherever they are asked', async () => {
    const a = await withTopic()
    const joined = await join(a, 'a')
    await commit(a, 'a', joined, 0, 2)
    const reset = (to: unknown, more: Frame = {}): Promise<Frame> =>
      a.request('resetOffsets', { group: 'g', to, ...more })
    expect(await reset('end')).toMatchObject({ error: { code: 'GROUP_NOT_EMPTY', actual: 1 } })
    await a.call('leaveGroup', { group: 'g', memberId: 'a' })
    expect(await reset({ shift: -1 }, { dryRun: true })).toMatchObject({
      offsets: [{ topic: 't', partition: 0, from: 2, to: 1 }],
    })
    expect(await reset({ shift: 1 })).toMatchObject({ offsets: [{ from: 2, to: 3 }] })
    expect(await reset('end', { topics: ['t'] })).toMatchObject({
      offsets: [{ from: 3, to: 5 }, { from: null, to: 5 }, { to: 5 }, { to: 5 }],
    })
    expect(await reset({ shift: -100 })).toMatchObject({ offsets: [{ to: 0 }, {}, {}, {}] })
    await a.call('deleteGroup', { group: 'g' })
    expect(await a.request('describeGroup', { group: 'g' })).toMatchObject({
      error: { code: 'UNKNOWN_GROUP' },
    })
  })
})

it('a group has series of its lag and members, and none once it is gone', async () => {
  const a = await withTopic()
  const joined = await join(a, 'a')
  await commit(a, 'a', joined, 0, 2)
  const of = (name: string, labels: string): Promise<number> =>
    metric(broker, `logloom_consumer_group_${name}{${labels}}`)
  expect(await of('lag_records', 'group="g",topic="t"')).toBe(3)
  expect(await of('lag_seconds', 'group="g",topic="t"')).toBeGreaterThanOrEqual(0)
  expect(await of('members', 'group="g"')).toBe(1)
  expect(await of('commits_total', 'group="g"')).toBe(1)
  await a.call('leaveGroup', { group: 'g', memberId: 'a' })
  await a.call('deleteGroup', { group: 'g' })
  expect(await scrape(broker)).not.toContain('logloom_consumer_group_members{group="g"}')
})

it('a group that never committed leaves nothing behind', async () => {
  const a = await withTopic()
  await join(a, 'a')
  await a.call('leaveGroup', { group: 'g', memberId: 'a' })
  expect(await a.call('listGroups', {})).toMatchObject({ groups: [] })
})

it('a transactional id gets its producer back, and fences whoever had it', async () => {
  const a = await withTopic()
  const first = await a.call('initProducer', { transactionalId: 'x' })
  const second = await a.call('initProducer', { transactionalId: 'x' })
  expect(second['producerId']).toBe(first['producerId'])
  expect(second['producerEpoch']).toBe((first['producerEpoch'] as number) + 1)
  const producer = { id: first['producerId'], epoch: first['producerEpoch'], sequence: 0 }
  const records = [{ topic: 't', value: 'v' }]
  expect(await a.request('publish', { records, producer })).toMatchObject({
    error: { code: 'PRODUCER_FENCED' },
  })
})

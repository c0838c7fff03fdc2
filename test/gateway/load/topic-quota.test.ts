// Quotas of topics and partitions: refused before anything is made, named, and free again when something is deleted.

import { afterEach, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../../broker/index.ts'
import { ownership, ownerOf } from '../../../broker/gateway/topic-quota.ts'
import { anonymous } from '../../../broker/security/principal.ts'
import type { TopicState } from '../../../broker/state/topics.ts'
import { RawClient } from '../raw-client.ts'

const started: RunningBroker[] = []

afterEach(async () => {
  await Promise.all(started.splice(0).map(broker => broker.close()))
})

async function connectTo(options: StartBrokerOptions): Promise<RawClient> {
  const broker = await startBroker({ loglet: 'memory', port: 0, ...options })
  started.push(broker)
  return RawClient.connect(broker.url)
}

describe('a quota of topics', () => {
  it('counts those that are made on purpose and by writing; deleting makes room', async () => {
    const client = await connectTo({ quotaTopics: 2 })
    await client.call('createTopic', { topic: 'a' })
    await client.call('publish', { records: [{ topic: 'b', value: 'v' }] })
    const error = {
      code: 'QUOTA_EXCEEDED',
      retriable: false,
      quota: 'topics',
      limit: 2,
      actual: 3,
      message: expect.stringContaining('quota topics'),
      hint: expect.stringContaining('logloom quota'),
    }
    expect(await client.refusal('createTopic', { topic: 'c' })).toMatchObject(error)
    expect(
      await client.refusal('publish', { records: [{ topic: 'd', value: 'v' }] }),
    ).toMatchObject(error)
    const { topics } = await client.call('listTopics')
    expect(topics).toHaveLength(2)
    // What is there may be asked for again, and written to.
    await client.call('createTopic', { topic: 'a', ifNotExists: true })
    await client.call('publish', { records: [{ topic: 'b', value: 'v' }] })
    await client.call('deleteTopic', { topic: 'a' })
    await client.call('createTopic', { topic: 'c' })
    await client.close()
  })
})

describe('a quota of partitions', () => {
  it('counts those of all topics, and those that are added', async () => {
    const client = await connectTo({ quotaPartitions: 5 })
    await client.call('createTopic', { topic: 'a', partitions: 3 })
    const error = { code: 'QUOTA_EXCEEDED', quota: 'partitions', limit: 5 }
    expect(await client.refusal('createTopic', { topic: 'b', partitions: 3 })).toMatchObject({
      ...error,
      actual: 6,
    })
    await client.call('alterTopic', { topic: 'a', partitions: 5 })
    expect(await client.refusal('alterTopic', { topic: 'a', partitions: 6 })).toMatchObject(error)
    await client.call('alterTopic', { topic: 'a', config: { 'retention.ms': '1000' } })
    await client.close()
  })
})

describe('the owner of a topic', () => {
  it('is whoever proved who they are; nobody can say so themselves', async () => {
    const alice = { name: 'User:alice', mechanism: 'api-key', superUser: false } as const
    const made = (config: Readonly<Record<string, string>>): TopicState =>
      ({ config }) as unknown as TopicState
    expect(ownerOf(made({ ...ownership(alice) }))).toBe('User:alice')
    expect(ownerOf(made(ownership(anonymous)))).toBe(anonymous.name)
    const client = await connectTo({})
    expect(
      await client.refusal('createTopic', { topic: 'a', config: { owner: 'User:bob' } }),
    ).toMatchObject({ code: 'INVALID_CONFIG' })
    await client.close()
  })
})

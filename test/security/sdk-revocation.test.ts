// An application that runs when its right, or its key, is taken away: it hears the error with its code, what is not acked is reported as failed,
// nothing hangs and nothing is tried for ever.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  type Client,
  type ClientStatus,
  connect,
  type LogloomError,
  type NewAclBinding,
} from '../../client/index.ts'
import { SecureBroker } from './secure-broker.ts'

const deniedCode = 'AUTHORIZATION_FAILED'
const revokedCode = 'AUTHENTICATION_FAILED'
const quick = { retryBackoffMs: 1, retryBackoffMaxMs: 20 }

let broker: SecureBroker
let admin: Client
let tokenId = ''
let key = ''
const opened: Client[] = []
/** A new one for each test: a process whose key was revoked holds its place until the session timeout. */
let group = ''
let groups = 0

beforeAll(async () => {
  broker = await SecureBroker.start({ drainMs: 100 })
  admin = await broker.connect()
  await admin.admin().createTopic({ topic: 'work', partitions: 2 })
  await admin.admin().createTopic({ topic: 'dead' })
})

afterEach(async () => {
  for (const client of opened.splice(0)) await client.close({ timeoutMs: 0 })
  await admin.admin().deleteAcls({})
})

afterAll(() => broker.close())

/** Somebody with rights on the topic and on the groups of this test. */
async function worker(
  ...rights: readonly ('read' | 'write')[]
): Promise<{ client: Client; statuses: ClientStatus[] }> {
  ;({ token: key, tokenId } = await admin.admin().createToken({ principal: 'User:worker' }))
  await allow(...rights)
  group = `group-${++groups}`
  const client = await connect(broker.url, { token: key, ...quick })
  opened.push(client)
  const statuses: ClientStatus[] = []
  void (async () => {
    for await (const status of client.status()) statuses.push(status)
  })()
  return { client, statuses }
}

async function allow(...rights: readonly ('read' | 'write')[]): Promise<void> {
  const principal = 'User:worker'
  const bindings: NewAclBinding[] = rights.map(operation => {
    return { principal, resource: 'topic', name: 'work', operation }
  })
  if (rights.includes('read'))
    bindings.push({
      principal,
      resource: 'group',
      pattern: 'prefixed',
      name: 'group-',
      operation: 'read',
    })
  await admin.admin().createAcls(bindings)
}

const takeRights = (): Promise<unknown> => admin.admin().deleteAcls({ principal: 'User:worker' })
const revokeKey = (): Promise<unknown> => admin.admin().revokeToken(tokenId)

const ways = [
  ['its right is taken away', takeRights, deniedCode],
  ['its key is revoked', revokeKey, revokedCode],
] as const

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setImmediate(resolve))
}

/** Ends by itself, or the test does not. */
const failure = (work: PromiseLike<unknown>): Promise<LogloomError> =>
  Promise.resolve(work).then(
    () => {
      throw new Error('it went well')
    },
    (error: LogloomError) => error,
  )

async function failures(): Promise<number> {
  const page = await fetch(`${broker.httpUrl}/metrics`, {
    headers: { authorization: `Bearer ${broker.adminToken}` },
  })
  return Number(
    /logloom_auth_failures_total\{mechanism="api-key"\} (\d+)/.exec(await page.text())?.[1],
  )
}

const storedRecords = async (): Promise<number> =>
  (await admin.admin().describeTopic('work')).partitions.reduce(
    (sum, { startOffset, endOffset }) => sum + endOffset - startOffset,
    0,
  )

describe.each(ways)('%s', (_, takeAway, code) => {
  it('a producer that sends all the time is told of each record that it was not written', async () => {
    const { client } = await worker('write')
    const before = await storedRecords()
    const producer = client.producer({ lingerMs: 0, batchSize: 200 })
    const codes = new Map<string, number>()
    let acked = 0
    const plan = { over: false }
    let unknown = 0
    const sending = (async () => {
      const settled: Promise<void>[] = []
      while (!plan.over) {
        const ack = new Promise<unknown>(resolve => {
          // It throws at once when the client is closed.
          resolve(producer.enqueue('work', { key: `${acked}`, value: 'v' }).acked)
        })
        settled.push(
          ack.then(
            () => void acked++,
            (error: LogloomError) => {
              codes.set(error.code, (codes.get(error.code) ?? 0) + 1)
              if (error.code === 'OUTCOME_UNKNOWN') {
                unknown++
                // What it was that nobody knows the end of.
                expect(error.cause).toMatchObject({ code })
              }
            },
          ),
        )
        await new Promise(resolve => setImmediate(resolve))
      }
      await Promise.all(settled)
    })()
    await until(() => acked > 20)
    await takeAway()
    await until(() => (codes.get(code) ?? 0) > 20)
    plan.over = true
    await sending
    expect([...codes.keys()].filter(each => each !== 'OUTCOME_UNKNOWN')).toEqual([code])
    if (code === deniedCode) expect(unknown).toBe(0)
    const stored = (await storedRecords()) - before
    expect(stored).toBeGreaterThanOrEqual(acked)
    expect(stored).toBeLessThanOrEqual(acked + unknown)
    // Nothing is left to wait for.
    await producer.close().catch(() => {})
  })

  it('an atomic publish is refused whole', async () => {
    const { client } = await worker('write')
    const send = (): Promise<unknown> =>
      client.transaction(tx => {
        tx.send('work', { key: 'a', value: '1' })
        tx.send('work', { key: 'b', value: '2' })
      })
    await send()
    const before = await storedRecords()
    await takeAway()
    await until(async () => {
      const error = await send().then(
        () => undefined,
        (thrown: LogloomError) => thrown,
      )
      return error?.code === code
    })
    // A revoked key is good until its connection is ended, within a second.
    if (code === deniedCode) expect(await storedRecords()).toBe(before)
    expect(await failure(send())).toMatchObject({ code, retriable: false })
  })

  it('a reader that waits ends', async () => {
    const { client } = await worker('read')
    const reading = failure(
      (async () => {
        for await (const _record of client.read('work', { from: 'end' }));
      })(),
    )
    await until(async () => (await subscriptions()) > 0)
    await takeAway()
    expect(await reading).toMatchObject({ code, retriable: false })
  })

  it('a member of a group ends, and its place is for others', async () => {
    const { client } = await worker('read')
    const consumer = client.consumer({
      groupId: group,
      topics: 'work',
      autoOffsetReset: 'latest',
    })
    const running = failure(consumer.run(() => {}))
    const members = async (): Promise<number> =>
      admin
        .admin()
        .describeGroup(group)
        .then(
          ({ members: all }) => all.length,
          () => 0,
        )
    await until(async () => (await members()) === 1)
    await takeAway()
    expect(await running).toMatchObject({ code, retriable: false })
    await consumer.close()
    if (code === deniedCode) await until(async () => (await members()) === 0)
    const again = async (): Promise<void> =>
      client.consumer({ groupId: group, topics: 'work' }).run(() => {})
    expect(await failure(again())).toMatchObject({ code })
  })

  it('a handler that is at work is told by its signal, and cannot commit', async () => {
    const { client } = await worker('read')
    await admin.producer().send('work', { key: 'k', value: 'v' })
    const consumer = client.consumer({
      groupId: group,
      topics: 'work',
      autoOffsetReset: 'earliest',
      autoCommit: false,
    })
    let begun = false
    let commit: LogloomError | undefined
    const running = failure(
      consumer.run(async record => {
        begun = true
        await new Promise(resolve => record.signal.addEventListener('abort', resolve))
        commit ??= await failure(record.commit())
      }),
    )
    await until(() => begun)
    await takeAway()
    expect(await running).toMatchObject({ code })
    await until(() => commit !== undefined)
    // It is no member any more, or has no connection.
    expect([code, 'UNKNOWN_MEMBER', 'STALE_GENERATION']).toContain(commit?.code)
    await consumer.close()
    const offsets = await admin
      .admin()
      .describeGroup(group)
      .then(
        ({ partitions }) => partitions.map(({ offset }) => offset ?? 0),
        () => [],
      )
    expect(offsets.filter(offset => offset > 0)).toEqual([])
  })

  it('a queue ends', async () => {
    const { client } = await worker('read')
    const queue = client.queue({ group, topics: 'work' })
    const reading = failure(
      (async () => {
        for await (const _record of queue);
      })(),
    )
    await until(() => broker.running?.broker.shareGroup(group) !== undefined)
    await takeAway()
    expect(await reading).toMatchObject({ code, retriable: false })
    await queue.close()
  })
})

const subscriptions = async (): Promise<number> =>
  (await admin.admin().listConnections()).connections.reduce(
    (sum, each) => sum + each.subscriptions,
    0,
  )

describe('a right that comes back', () => {
  it('lets the same producer and the same client go on', async () => {
    const { client } = await worker('read', 'write')
    const producer = client.producer({ lingerMs: 0 })
    const first = await producer.send('work', { key: 'k', value: '1' })
    await takeRights()
    expect(await failure(producer.send('work', { key: 'k', value: '2' }))).toMatchObject({
      code: deniedCode,
    })
    await allow('read', 'write')
    const second = await producer.send('work', { key: 'k', value: '3' })
    expect(second.offset).toBe(first.offset + 1)
    const consumer = client.consumer({
      groupId: group,
      topics: 'work',
      autoOffsetReset: 'earliest',
    })
    for await (const record of consumer) {
      expect(record.value).toBeTypeOf('string')
      break
    }
    await consumer.close()
    await producer.close()
  })
})

describe('a revoked key', () => {
  it('closes the client after one try, and nothing is tried again', async () => {
    const { client, statuses } = await worker('write')
    const before = await failures()
    const producer = client.producer()
    await producer.send('work', { value: 'v' })
    await revokeKey()
    await until(() => statuses.at(-1)?.type === 'closed')
    expect(statuses.at(-1)).toMatchObject({ error: { code: revokedCode } })
    expect(await failures()).toBe(before + 1)
    for (const call of [
      async () => producer.send('work', { value: 'v' }),
      async () => client.admin().describeTopic('work'),
      async () =>
        client.transaction(tx => {
          tx.send('work', { value: 'v' })
        }),
    ])
      expect(await failure(call())).toMatchObject({ code: revokedCode, retriable: false })
    expect(await failures()).toBe(before + 1)
  })

  it('of a client whose token is a function is replaced, and no record is lost or comes twice', async () => {
    await worker('read', 'write')
    let current = key
    const client = await connect(broker.url, { token: () => current, ...quick })
    opened.push(client)
    const before = await storedRecords()
    const producer = client.producer({ lingerMs: 0 })
    const acks: PromiseLike<unknown>[] = []
    for (let i = 0; i < 50; i++) {
      acks.push(producer.enqueue('work', { key: `${i}`, value: `${i}` }).acked)
      if (i === 25) {
        const next = await admin.admin().createToken({ principal: 'User:worker' })
        const old = tokenId
        ;({ token: current, tokenId } = next)
        await admin.admin().revokeToken(old)
      }
    }
    await Promise.all(acks)
    expect(await storedRecords()).toBe(before + 50)
    await producer.close()
  })
})

// The SDK's group consumer on a real broker: shares, moves, restarts, handlers that fail or hang.

import { describe, expect, it } from 'vitest'
import type { Client, ConsumerOptions, GroupRecord } from '../../client/index.ts'
import { useMemoryBroker } from './memory-broker.ts'

const { broker, client } = useMemoryBroker()

const options = (more: Partial<ConsumerOptions> = {}): ConsumerOptions => ({
  groupId: 'g',
  topics: 't',
  autoOffsetReset: 'earliest',
  autoCommitIntervalMs: 20,
  ...more,
})

/** Values `first..first+count`, over `keys` keys. */
async function produce(count: number, keys = 8, first = 0): Promise<void> {
  const one = await client()
  const producer = one.producer()
  for (let i = first; i < first + count; i++)
    producer.enqueue('t', { key: `k${i % keys}`, value: `${i}` })
  await producer.close()
}

async function topic(partitions: number): Promise<Client> {
  const one = await client()
  await one.admin().createTopic({ topic: 't', partitions })
  return one
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 5))
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`)
const byNumber = (a: string, b: string): number => Number(a) - Number(b)

describe('a consumer', () => {
  it('reads from the beginning, commits by itself, and goes on there after a restart', async () => {
    const one = await topic(3)
    await produce(60)
    const seen: string[] = []
    for await (const { value } of one.consumer(options())) {
      seen.push(value as string)
      if (seen.length === 40) break
    }
    const rest: string[] = []
    const consumer = one.consumer(options())
    for await (const { value } of consumer) {
      rest.push(value as string)
      if (rest.length === 21) break
    }
    // What was handed out last before the break was not processed.
    const all = [...seen, ...rest]
    expect([...new Set(all)].sort(byNumber)).toEqual(numbers(60))
    expect(all).toHaveLength(61)
  })

  it.each([{ concurrency: 1 }, { concurrency: 2 }])(
    'runs $concurrency handlers at a time, and one alone in the order of the partition',
    async ({ concurrency }) => {
      const one = await topic(1)
      const producer = one.producer()
      for (const [i, key] of 'aabcabcdabcdea'.split('').entries())
        producer.enqueue('t', { key, value: `${i}` })
      await producer.close()
      const seen: string[] = []
      let running = 0
      const consumer = one.consumer(options())
      const run = consumer.run(
        async ({ value }) => {
          expect(++running).toBeLessThanOrEqual(concurrency)
          seen.push(value as string)
          await new Promise(resolve => setImmediate(resolve))
          running--
        },
        { concurrency },
      )
      // A failure ends the run before all is seen.
      await Promise.race([run, until(() => seen.length === 14)])
      await consumer.close()
      await run
      if (concurrency === 1) expect(seen).toEqual(numbers(14))
    },
  )

  it('shares with a second one, which leaves; nothing is lost, and nothing done twice', async () => {
    const one = await topic(6)
    const two = await client()
    const seen: { by: string; record: GroupRecord<string> }[] = []
    const collect = (by: string) => (record: GroupRecord<string>) => {
      seen.push({ by, record })
    }
    const a = one.consumer(options())
    const runA = a.run(collect('a'), { concurrency: 4 })
    await produce(200)
    await until(() => seen.length > 50)
    const b = two.consumer(options())
    const runB = b.run(collect('b'), { concurrency: 4 })
    await until(() => b.assignment.length === 3 && a.assignment.length === 3)
    await produce(400, 8, 200)
    await until(() => seen.filter(({ by }) => by === 'b').length > 50)
    await b.close()
    await runB
    await until(() => a.assignment.length === 6)
    await produce(200, 8, 600)
    await until(() => new Set(seen.map(({ record }) => record.value)).size === 800)
    await a.close()
    await runA
    const values = seen.map(({ record }) => record.value as string)
    expect(values.sort(byNumber)).toEqual(numbers(800))
    // Per key in order, whoever had it.
    for (let key = 0; key < 8; key++) {
      const offsets = seen.filter(({ record }) => record.key === `k${key}`)
      const order = offsets.map(({ record }) => record.offset as number)
      expect(order).toEqual([...order].sort((x, y) => x - y))
    }
  })

  it('does not pause partitions that do not move', async () => {
    const one = await topic(4)
    const a = one.consumer(options())
    const heard: string[] = []
    a.on('assigned', places => heard.push(`+${places.length}`))
    a.on('revoked', places => heard.push(`-${places.length}`))
    a.on('lost', () => heard.push('lost'))
    const running = a.run(() => {})
    await until(() => a.assignment.length === 4)
    const before = a.assignment
    const b = (await client()).consumer(options())
    const other = b.run(() => {})
    await until(() => b.assignment.length === 2)
    expect(heard).toEqual(['+4', '-2'])
    expect(before).toEqual(expect.arrayContaining([...a.assignment]))
    await Promise.all([a.close(), b.close()])
    await Promise.all([running, other])
  })

  it('lets a handler finish what is asked back, which is committed before the next owner begins', async () => {
    const one = await topic(1)
    await produce(3)
    let release: () => void = () => {}
    const held = new Promise<void>(resolve => {
      release = resolve
    })
    const aborted: boolean[] = []
    const done: string[] = []
    const a = one.consumer(options({ assignor: 'range' }))
    const runA = a.run(async ({ value, signal }) => {
      if (value === '0') {
        signal.addEventListener('abort', () => aborted.push(true))
        await held
      }
      done.push(`a${value}`)
    })
    await until(() => a.assignment.length === 1)
    // Range gives the only partition to the member whose id sorts first, so join until one of the others has it.
    const others = await Promise.all(
      [1, 2, 3, 4, 5, 6].map(async () => (await client()).consumer(options({ assignor: 'range' }))),
    )
    const runs = others.map(consumer =>
      consumer.run(({ value }) => {
        done.push(`b${value}`)
      }),
    )
    const isMoved = (): boolean => aborted.length > 0
    await Promise.race([
      until(isMoved),
      until(() => others.every(({ assignment }) => assignment.length === 0)),
    ])
    release()
    await until(() => done.length === 3)
    expect(done.map(each => each.slice(1))).toEqual(['0', '1', '2'])
    expect(done[0]).toBe('a0')
    await Promise.all([a.close(), ...others.map(each => each.close())])
    await Promise.all([runA, ...runs])
  })

  it('joins anew after it was away for too long, and hears that what it had is lost', async () => {
    const one = await topic(2)
    await produce(10)
    const a = one.consumer(options({ sessionTimeoutMs: 60_000 }))
    const lost: number[] = []
    a.on('lost', places => lost.push(places.length))
    const seen: string[] = []
    const running = a.run(({ value }) => {
      seen.push(value as string)
    })
    await until(() => seen.length === 10)
    // As if its grace period had passed while it could not be reached.
    const members = (): string[] => [...(broker().broker.group('g')?.members.keys() ?? [])]
    const [memberId = ''] = members()
    await broker().broker.propose({ type: 'leaveGroup', group: 'g', memberId })
    await until(() => lost.length === 1 && a.assignment.length === 2)
    expect(members()).not.toContain(memberId)
    await produce(10, 8, 10)
    await until(() => new Set(seen).size === 20)
    await a.close()
    await running
  })

  it('with an instance id comes back without a rebalance, and fences who still has it', async () => {
    const one = await topic(4)
    const rest = { groupInstanceId: 'i', sessionTimeoutMs: 60_000 }
    const a = one.consumer(options(rest))
    const running = a.run(() => {})
    await until(() => a.assignment.length === 4)
    await a.close()
    await running
    const generation = broker().broker.group('g')?.generation
    const b = (await client()).consumer(options(rest))
    const second = b.run(() => {})
    await until(() => b.assignment.length === 4)
    expect(broker().broker.group('g')?.generation).toBe(generation)
    const c = (await client()).consumer(options(rest))
    const third = c.run(() => {})
    await expect(second).rejects.toMatchObject({ code: 'MEMBER_FENCED' })
    await until(() => c.assignment.length === 4)
    await c.close()
    await third
  })

  it('tries a record again, and gives it to the dead letters when nothing helps', async () => {
    const one = await topic(1)
    await produce(4, 1)
    const tries: string[] = []
    const dead: unknown[] = []
    const a = one.consumer(options())
    const running = a.run(
      ({ value }) => {
        tries.push(value as string)
        if (value === '1') throw new Error('no')
      },
      {
        retry: { attempts: 2, backoffMs: 1 },
        deadLetter: ({ value }, error) => {
          dead.push([value, (error as Error).message])
        },
      },
    )
    await until(() => tries.includes('3'))
    expect(tries).toEqual(['0', '1', '1', '1', '2', '3'])
    expect(dead).toEqual([['1', 'no']])
    await a.close()
    await running
  })

  describe('with a topic for dead letters', () => {
    const letters = async (one: Client) => {
      const found = []
      const reader = one.read('dead', { as: 'bytes', from: 'beginning', until: 'end' })
      for await (const { key, value, headers } of reader) {
        const text = (bytes: Uint8Array | null): string =>
          new TextDecoder().decode(bytes ?? new Uint8Array())
        found.push([text(key), text(value), headers.map(([name, of]) => `${name}=${text(of)}`)])
      }
      return found
    }
    const origin = (offset: number, message: string): readonly string[] => [
      '__dlq.errors.topic=t',
      '__dlq.errors.partition=0',
      `__dlq.errors.offset=${offset}`,
      '__dlq.errors.group=g',
      `__dlq.errors.message=${message}`,
    ]

    it('writes what no try helped as it was, with its origin, and commits it', async () => {
      const one = await topic(1)
      await one.admin().createTopic({ topic: 'dead' })
      const producer = one.producer()
      await producer.send('t', { key: 'k', value: '{"n": 0}', headers: { a: 'b' } })
      await producer.send('t', { key: 'k', value: '{"n":1 }', headers: { a: 'b' } })
      const a = one.consumer(options({ as: 'json' }))
      const seen: unknown[] = []
      const running = a.run(
        ({ value }) => {
          seen.push(value)
          if (seen.length === 1) throw new Error('no')
        },
        { deadLetter: 'dead' },
      )
      await until(() => seen.length === 2)
      await a.close()
      await running
      expect(await letters(one)).toEqual([['k', '{"n": 0}', ['a=b', ...origin(0, 'no')]]])
      const { offsets } = await one.admin().fetchOffsets('g')
      expect(offsets).toMatchObject([{ topic: 't', partition: 0, offset: 2 }])
    })

    it('writes what cannot be decoded', async () => {
      const one = await topic(1)
      await one.admin().createTopic({ topic: 'dead' })
      const producer = one.producer()
      for (const value of ['1', 'not json', '3']) await producer.send('t', { key: 'k', value })
      const seen: unknown[] = []
      const a = one.consumer(options({ as: 'json', onInvalid: { deadLetter: 'dead' } }))
      for await (const { value } of a) if (seen.push(value) === 2) break
      expect(seen).toEqual([1, 3])
      expect(await letters(one)).toEqual([
        ['k', 'not json', origin(1, 'the value of t-0@1 cannot be decoded')],
      ])
    })

    it('stops when the letter cannot be written, and does not commit the record', async () => {
      const one = await topic(1)
      await one.admin().createTopic({ topic: 'dead', config: { 'cleanup.policy': 'compact' } })
      await one.producer().send('t', { value: 'no key' })
      const running = one.consumer(options()).run(
        () => {
          throw new Error('no')
        },
        { deadLetter: 'dead' },
      )
      await expect(running).rejects.toMatchObject({ code: 'INVALID_RECORD' })
      const { offsets } = await one.admin().fetchOffsets('g')
      expect(offsets.filter(({ offset }) => offset > 0)).toEqual([])
    })

    it('refuses a topic that is consumed, and a name that none can have', async () => {
      const one = await topic(1)
      await produce(1, 1)
      const refused = { code: 'INVALID_REQUEST', details: { field: 'deadLetter' } }
      const options1 = options({ onInvalid: { deadLetter: 't' } })
      expect(() => one.consumer(options1)).toThrow(expect.objectContaining(refused))
      const named = one.consumer(options()).run(() => {}, { deadLetter: 't' })
      await expect(named).rejects.toMatchObject(refused)
      const misnamed = one.consumer(options()).run(() => {}, { deadLetter: 'a letter' })
      await expect(misnamed).rejects.toMatchObject({ code: 'INVALID_TOPIC_NAME' })
      const { topics: _topics, ...rest } = options()
      const failing = (): never => {
        throw new Error('no')
      }
      const matched = one.consumer({ ...rest, pattern: 't' }).run(failing, { deadLetter: 't' })
      await expect(matched).rejects.toMatchObject(refused)
    })
  })

  it('stops at a record whose handler fails, and does not commit it', async () => {
    const one = await topic(1)
    await produce(4, 1)
    const a = one.consumer(options())
    const running = a.run(({ value }) => {
      if (value === '2') throw new Error('no')
    })
    await expect(running).rejects.toThrow('no')
    const { offsets } = await one.admin().fetchOffsets('g')
    expect(offsets).toMatchObject([{ topic: 't', partition: 0, offset: 2 }])
  })

  it('pauses, resumes and seeks', async () => {
    const one = await topic(1)
    await produce(5, 1)
    const a = one.consumer(options({ autoCommit: false }))
    const seen: string[] = []
    const running = a.run(({ value }) => {
      seen.push(value as string)
    })
    await until(() => seen.length === 5)
    a.pause('t')
    await produce(5, 1, 5)
    a.seek('t', 0, 8)
    a.resume('t')
    await until(() => seen.length === 7)
    expect(seen).toEqual([...numbers(5), '8', '9'])
    await a.commit([{ topic: 't', partition: 0, offset: 9 }])
    await expect(a.commit([{ topic: 't', partition: 0, offset: 11 }])).rejects.toMatchObject({
      code: 'OFFSET_OUT_OF_RANGE',
    })
    await a.close()
    await running
  })

  it('refuses to begin where nobody said how, and what retention has overtaken', async () => {
    const one = await topic(1)
    await produce(5, 1)
    const a = one.consumer(options({ autoOffsetReset: 'error' }))
    await expect(a.run(() => {})).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
    await one.admin().resetOffsets('g', { to: 1, topics: ['t'] })
    await one.admin().deleteRecords('t', 0, 3)
    await expect(one.consumer(options()).run(() => {})).rejects.toMatchObject({
      code: 'OFFSET_TRIMMED',
    })
    const gaps: string[] = []
    const seen: string[] = []
    const onGap = (gap: { type: string; next: number }): void => {
      gaps.push(`${gap.type} to ${gap.next}`)
    }
    for await (const { value } of one.consumer(options({ onTrimmed: 'skip', onGap }))) {
      seen.push(value as string)
      if (value === '4') break
    }
    expect(seen).toEqual(['3', '4'])
    expect(gaps).toEqual(['trimmed to 3'])
  })

  it('follows a pattern, by expression too', async () => {
    const one = await topic(1)
    const a = one.consumer({ groupId: 'g', pattern: /t|u\..+/, autoOffsetReset: 'earliest' })
    const seen: string[] = []
    const running = a.run(({ topic: name, value }) => {
      seen.push(`${name}=${value}`)
    })
    await produce(1, 1)
    await until(() => seen.length === 1)
    const producer = one.producer()
    await producer.send('u.late', { value: 'x' })
    await until(() => seen.length === 2)
    expect(seen).toEqual(['t=0', 'u.late=x'])
    await a.close()
    await running
  })
})

// Reads as of a log position: the topics as they were then, whatever came later.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  array,
  assert,
  asyncProperty,
  constant,
  constantFrom,
  integer,
  oneof,
  record,
} from 'fast-check'
import { describe, expect, it } from 'vitest'
import { startBroker } from '../../broker/index.ts'
import { type Client, connect, type ReadGap } from '../../client/index.ts'
import { useMemoryBroker } from './memory-broker.ts'

const { client } = useMemoryBroker()
const topicNames = ['a', 'b', 'c'] as const

const step = oneof(
  {
    weight: 4,
    arbitrary: record({
      kind: constant('send' as const),
      topic: constantFrom(...topicNames),
      count: integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 4, arbitrary: record({ kind: constant('publish' as const) }) },
  { weight: 3, arbitrary: record({ kind: constant('snapshot' as const) }) },
  {
    weight: 1,
    arbitrary: record({ kind: constant('add' as const), topic: constantFrom(...topicNames) }),
  },
  {
    weight: 1,
    arbitrary: record({
      kind: constant('trim' as const),
      topic: constantFrom(...topicNames),
      keep: integer({ min: 0, max: 3 }),
    }),
  },
)
type Step = typeof step extends { generate: (...args: never) => { value: infer T } } ? T : never

/** Values of every partition, by `topic/partition`; undefined: trimmed. */
type Content = ReadonlyMap<string, readonly (string | undefined)[]>

interface Snapshot {
  readonly position: number
  readonly content: Content
}

/** Runs steps and remembers what was there at each snapshot. */
class History {
  readonly snapshots: Snapshot[] = []
  readonly #client: Client
  readonly #prefix: string
  readonly #content = new Map<string, (string | undefined)[]>()
  readonly #starts = new Map<string, number>()
  #partitions = new Map<string, number>()
  #serial = 0

  constructor(from: Client, prefix: string) {
    this.#client = from
    this.#prefix = prefix
  }

  get topics(): readonly string[] {
    return topicNames.map(name => this.#prefix + name)
  }

  async create(): Promise<void> {
    for (const topic of this.topics) {
      await this.#client.admin().createTopic({ topic, partitions: 2 })
      this.#partitions.set(topic, 2)
      for (const p of [0, 1]) this.#content.set(`${topic}/${p}`, [])
    }
  }

  async run(step: Step): Promise<void> {
    const admin = this.#client.admin()
    const topic = 'topic' in step ? this.#prefix + step.topic : ''
    switch (step.kind) {
      case 'send': {
        const producer = this.#client.producer({ lingerMs: 0, batchSize: 1 })
        const values = Array.from({ length: step.count }, () => String(this.#serial++))
        const acks = await Promise.all(
          values.map(value => producer.send(topic, { key: value, value })),
        )
        for (const [i, ack] of acks.entries()) this.#put(ack, values[i] as string)
        break
      }
      case 'publish': {
        const value = `all${this.#serial++}`
        const acks = await this.#client.transaction(tx => {
          for (const to of this.topics) tx.send(to, { key: value, value })
        })
        for (const ack of acks) this.#put(ack, value)
        break
      }
      case 'snapshot':
        this.snapshots.push({
          position: await this.#client.snapshot(),
          content: new Map([...this.#content].map(([place, values]) => [place, [...values]])),
        })
        break
      case 'add': {
        const before = this.#partitions.get(topic) as number
        await admin.createPartitions(topic, before + 1)
        this.#partitions.set(topic, before + 1)
        this.#content.set(`${topic}/${before}`, [])
        break
      }
      case 'trim':
        for (let p = 0; p < (this.#partitions.get(topic) as number); p++) {
          const { length } = this.#content.get(`${topic}/${p}`) as unknown[]
          const { startOffset } = await admin.deleteRecords(
            topic,
            p,
            Math.max(0, length - step.keep),
          )
          this.#starts.set(`${topic}/${p}`, startOffset)
        }
    }
  }

  /** What a read at a snapshot has to give by now. */
  expected({ content }: Snapshot): Content {
    return new Map(
      [...content].map(([place, values]) => {
        const start = this.#starts.get(place) ?? 0
        // How much of what is gone was there then is not known.
        const length = Math.max(values.length, start)
        return [place, Array.from({ length }, (_, i) => (i < start ? undefined : values[i]))]
      }),
    )
  }

  #put(
    { topic, partition, offset }: { topic: string; partition: number; offset: number },
    value: string,
  ): void {
    ;(this.#content.get(`${topic}/${partition}`) as string[])[offset] = value
  }
}

async function readAt(from: Client, topics: readonly string[], position: number) {
  const content = new Map<string, (string | undefined)[]>()
  const onGap = ({ topic, partition, type, offset, next }: ReadGap): void => {
    expect(type).toBe('trimmed')
    const values = content.get(`${topic}/${partition}`) ?? []
    for (let at: number = offset; at < next; at++) values[at] = undefined
    content.set(`${topic}/${partition}`, values)
  }
  for await (const { topic, partition, offset, value } of from.read(topics, {
    asOf: position,
    onGap,
  })) {
    const values = content.get(`${topic}/${partition}`) ?? []
    // What was gone by then is no gap: the partition began later.
    if (values.length === 0) values.length = offset
    expect(offset).toBe(values.length)
    values.push(value as string)
    content.set(`${topic}/${partition}`, values)
  }
  return content
}

const filled = (content: Content): unknown =>
  Object.fromEntries(
    [...content]
      .filter(([, values]) => values.some(value => value !== undefined))
      .map(([place, values]) => [place, [...values]] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  )

describe('a read as of a log position', () => {
  it('gives what was there then, and an atomic publish whole or not at all', async () => {
    let runs = 0
    await assert(
      asyncProperty(array(step, { minLength: 3, maxLength: 25 }), async steps => {
        const one = await client()
        const history = new History(one, `h${runs++}-`)
        await history.create()
        for (const each of steps) await history.run(each)
        await history.run({ kind: 'snapshot' })
        const last = history.snapshots.at(-1) as Snapshot
        await history.run({ kind: 'publish' })
        for (const snapshot of history.snapshots)
          expect(filled(await readAt(one, history.topics, snapshot.position))).toEqual(
            filled(history.expected(snapshot)),
          )
        if (steps.some(({ kind }) => kind === 'trim')) return
        const created = history.snapshots[0]?.position ?? 0
        for (let position = created; position <= last.position; position++) {
          const content = await readAt(one, history.topics, position)
          const seen = [...content.values()].flat().filter(value => value?.startsWith('all'))
          for (const value of new Set(seen))
            expect(seen.filter(other => other === value)).toHaveLength(topicNames.length)
        }
      }),
      { numRuns: 40 },
    )
  })

  it('gives the same after a restart', async () => {
    const data = await mkdtemp(join(tmpdir(), 'as-of-'))
    try {
      let broker = await startBroker({ data, port: 0 })
      let one = await connect(broker.url)
      const history = new History(one, '')
      await history.create()
      const kinds = [
        'send',
        'publish',
        'snapshot',
        'add',
        'send',
        'snapshot',
        'trim',
        'send',
      ] as const
      for (const kind of kinds) await history.run({ kind, topic: 'a', count: 4, keep: 1 })
      await one.close()
      await broker.close()
      broker = await startBroker({ data, port: 0 })
      one = await connect(broker.url)
      for (const snapshot of history.snapshots)
        expect(filled(await readAt(one, history.topics, snapshot.position))).toEqual(
          filled(history.expected(snapshot)),
        )
      await one.close()
      await broker.close()
    } finally {
      await rm(data, { recursive: true })
    }
  })

  it('is refused beyond the end of the log, for a topic that came later, and for a partition that did', async () => {
    const one = await client()
    await one.admin().createTopic('old')
    const position = await one.snapshot()
    await one.admin().createTopic('new')
    await one.admin().createPartitions('old', 2)
    const read = async (topic: string, asOf: number, partition?: number): Promise<number> => {
      let records = 0
      const options = { asOf, ...(partition === undefined ? {} : { partition }) }
      for await (const { records: found } of one.read(topic, options).batches())
        records += found.length
      return records
    }
    await expect(read('old', position)).resolves.toBe(0)
    await expect(read('old', 1e9)).rejects.toMatchObject({ code: 'OFFSET_OUT_OF_RANGE' })
    await expect(read('new', position)).rejects.toMatchObject({ code: 'UNKNOWN_TOPIC' })
    await expect(read('old', position, 1)).rejects.toMatchObject({ code: 'UNKNOWN_PARTITION' })
    expect(await one.admin().listOffsets('old', 'end', { asOf: position })).toHaveLength(1)
    expect(await one.admin().listOffsets('old', 'end')).toHaveLength(2)
  })
})

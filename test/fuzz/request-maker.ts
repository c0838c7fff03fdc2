// Requests that get past the first check: an operation that there is, and fields by the names of the protocol with values that fit them mostly.
// Which operation takes which field is not known here: unknown ones are ignored by the broker.

import { encodeBatch } from '../../wire/batch.ts'
import { MsgpackMaker } from './msgpack-maker.ts'
import type { FuzzRandom } from './random.ts'

type Field = (maker: MsgpackMaker, random: FuzzRandom) => void

const text =
  (...words: readonly string[]): Field =>
  (maker, random) =>
    maker.text(random.pick(words))
const number =
  (...values: readonly number[]): Field =>
  (maker, random) =>
    maker.uint(random.oneIn(12) ? random.size(20) : random.pick(values))
const flag: Field = (maker, random) => maker.u8(0xc2 + random.below(2))
const listOf =
  (field: Field): Field =>
  (maker, random) => {
    const items = random.size(4)
    maker.array(items)
    for (let i = 0; i < items; i++) field(maker, random)
  }
const mapOf =
  (fields: Readonly<Record<string, Field>>): Field =>
  (maker, random) => {
    const chosen = Object.entries(fields).filter(() => !random.oneIn(6))
    maker.map(chosen.length)
    for (const [name, field] of chosen) {
      maker.text(name)
      valueOf(field, maker, random)
    }
  }
const bytes: Field = (maker, random) => maker.binary(new Uint8Array(random.size(64)))
const either =
  (...fields: readonly Field[]): Field =>
  (maker, random) =>
    random.pick(fields)(maker, random)

const samples = [
  encodeBatch([{ value: 'v' }], { now: 1 }),
  encodeBatch([{ key: 'k', value: 'v' }, { key: 'l', value: null }], { now: 1 }),
  encodeBatch([{ value: 'p' }], { now: 1, producer: { producerId: 1, producerEpoch: 0, baseSequence: 0 } }),
] // biome-ignore format: one batch a line
const batch: Field = (maker, random) => {
  const sample = random.pick(samples).slice()
  if (random.oneIn(8)) sample[random.below(sample.length)] = random.u32()
  maker.binary(sample)
}

const topic = text(
  't',
  't',
  't',
  't',
  't',
  't',
  'u',
  'u',
  'u',
  'compacted',
  'absent',
  '__canary',
  'bad name',
  '..',
  '__proto__',
  'constructor',
)
const partition = number(0, 0, 0, 0, 0, 0, 1, 2, 3, 2 ** 31, 2 ** 53 - 1)
const offset = number(0, 0, 0, 0, 1, 1, 5, 2 ** 32, 2 ** 53 - 1)
const where = either(
  offset,
  text('beginning', 'beginning', 'end', 'no'),
  mapOf({ timestamp: number(0, 2 ** 41) }),
  mapOf({ last: number(0, 3) }),
)
const group = text('g', 'g', 'g', 'h', 's', 's', 's', '__proto__', 'toString', '')
const member = text('m', 'm', 'm', 'n', '__proto__', 'constructor')
const place = {
  topic,
  partition,
  partitions: number(1, 2),
  offset,
  batch,
  generation: number(0, 1),
  metadata: text('', 'note'),
}
const row = mapOf({
  ...place,
  value: either(text('v'), bytes),
  key: either(text('k'), bytes),
  headers: mapOf({ a: text('b'), __proto__x: bytes }),
  timestamp: number(0, 2 ** 41),
  type: text('accept', 'release', 'reject'),
  first: offset,
  last: offset,
  from: offset,
  to: offset,
})
const commit = mapOf({ group, memberId: member, generation: number(0, 1), offsets: listOf(row) })

const fields: Readonly<Record<string, Field>> = {
  topic,
  partition,
  partitions: either(number(1, 2, 3, 20_000), listOf(row)),
  topics: listOf(topic),
  except: listOf(topic),
  batch,
  batches: listOf(row),
  records: listOf(row),
  offsets: listOf(row),
  acks: either(text('all'), number(1, 0)),
  expect: either(mapOf({ offset }), listOf(row)),
  producer: mapOf({ id: number(0, 1, 2), epoch: number(0, 1), sequence: number(0, 1, 2, 3) }),
  producerId: number(0, 1),
  from: where,
  to: where,
  at: where,
  asOf: offset,
  before: offset,
  lsn: offset,
  maxBytes: number(0, 1, 1000, 2 ** 40),
  minBytes: number(0, 1),
  maxWaitMs: number(0, 0, 0, 1),
  maxRecords: number(1, 2, 5000),
  credit: number(0, 1, 1 << 20, 2 ** 53 - 1),
  bytes: number(0, 1, 1 << 20),
  sub: number(0, 1, 2),
  format: text('batch', 'batches', 'records', 'other'),
  codecs: listOf(text('none', 'gzip', 'zstd', 'other')),
  group,
  memberId: member,
  groupInstanceId: member,
  generation: number(0, 1, 2),
  shift: number(0, 1, 3),
  timestamp: number(0, 2 ** 41),
  pattern: text('t.*', '(', '^[a-z]+$', '(a*)*b', 'x{1000}', '\\1'),
  assignor: text('sticky', 'range', 'roundrobin', 'constructor'),
  sessionTimeoutMs: number(1, 6000, 2 ** 40),
  rebalanceTimeoutMs: number(1, 6000, 2 ** 40),
  recordLockDurationMs: number(1, 6000, 2 ** 40),
  deliveryCountLimit: number(1, 5, 1000),
  autoOffsetReset: text('earliest', 'latest', 'other'),
  keepsDead: flag,
  stay: flag,
  dryRun: flag,
  force: flag,
  allowStale: flag,
  ifNotExists: flag,
  commit,
  ack: mapOf({ group, memberId: member, acks: listOf(row), topics: listOf(row), partitions: listOf(row) }),
  config: mapOf({ 'cleanup.policy': text('compact', 'delete', 'no'), 'retention.ms': either(text('1000', '-1', 'x'), number(1, 2)), 'max.message.bytes': text('1000', '1e3', ''), '__proto__': text('x') }),
  transactionalId: text('tx', '__proto__'),
  expectedIndex: number(0, 1, 2),
  spec: text('memory', 'file', 'striped:2:memory', 'striped:99:memory', 'nats://x', 'striped:2:striped:2:memory'),
  limit: number(0, 1, 1000),
  node: text('n1', ''),
  peerUrl: text('ws://127.0.0.1:1', 'no'),
  type: text('accept', 'release', 'reject', 'renew'),
  principal: text('User:a', 'User:*', 'x'),
  acls: listOf(mapOf({ principal: text('User:a', 'User:*'), permission: text('allow', 'deny'), resource: text('topic', 'group', 'cluster'), pattern: text('literal', 'prefix'), name: topic, operation: text('read', 'write', 'all') })),
  quota: mapOf({ producerByteRate: number(1, 2 ** 40), connections: number(1) }),
  token: text('llk_aaaaaaaaaaaaaaaa_x', ''),
  description: text('d'),
  expiresAt: number(0, 2 ** 42),
} // biome-ignore format: one field a line
const names = Object.keys(fields)

let maker: MsgpackMaker | undefined

/** A request for one of the operations; valid until the next call. */
export function requestFrom(random: FuzzRandom, operations: readonly string[]): Uint8Array {
  if (maker?.random !== random) maker = new MsgpackMaker(random, 5000)
  const absent = random.below(6)
  const chosen = names.filter(() => random.below(40) >= absent)
  maker.begin()
  maker.map(chosen.length + 2)
  maker.text('op')
  maker.text(random.pick(operations))
  maker.text('id')
  maker.uint(random.below(2 ** 31))
  for (const name of chosen) {
    maker.text(name)
    valueOf(fields[name] as Field, maker, random)
  }
  return maker.end()
}

function valueOf(field: Field, to: MsgpackMaker, random: FuzzRandom): void {
  if (random.oneIn(120)) to.value(3)
  else field(to, random)
}

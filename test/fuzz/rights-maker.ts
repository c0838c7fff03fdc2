// Requests about API keys, bindings, quotas and scopes: fields by their names, with values that fit them mostly.

import { MsgpackMaker } from './msgpack-maker.ts'
import type { FuzzRandom } from './random.ts'

export const filterFields = [
  'principal',
  'permission',
  'resource',
  'pattern',
  'name',
  'operation',
] as const

/** What each of them may be given; in filters and bindings alike. */
const values: Readonly<Record<(typeof filterFields)[number], readonly string[]>> = {
  principal: [
    'User:alice',
    'User:bob',
    'User:*',
    'User:',
    'alice',
    'User:a\u0000',
    `User:${'x'.repeat(300)}`,
  ],
  permission: ['allow', 'deny', 'Allow', '__proto__'],
  resource: ['topic', 'group', 'cluster', 'topics', 'constructor'],
  pattern: ['literal', 'prefixed', 'match', 'prefix', ''],
  name: [
    'orders',
    'orders-eu',
    'o',
    '*',
    'logloom',
    '',
    '..',
    '.',
    'x'.repeat(249),
    'x'.repeat(250),
    'a b',
    '__proto__',
  ],
  operation: ['read', 'write', 'create', 'delete', 'alter', 'describe', 'all', '*'],
}
const quotaWords = ['producerByteRate', 'consumerByteRate', 'requestRate', 'connections', 'topics', 'producerRate', '__proto__'] as const // biome-ignore format: a list

let maker: MsgpackMaker | undefined

/** A request for one of the operations; valid until the next call. */
export function rightsFrom(random: FuzzRandom, operations: readonly string[]): Uint8Array {
  if (maker?.random !== random) maker = new MsgpackMaker(random, 2000)
  const to = maker
  const op = random.oneIn(2)
    ? random.pick(['createAcls', 'deleteAcls'] as const)
    : random.pick(operations)
  /** A value that fits, mostly. */
  const field = (name: string, write: () => void): void => {
    to.text(random.oneIn(60) ? `${name}x` : name)
    const kind = random.below(30)
    if (kind === 0) to.value(2)
    else if (kind === 1) to.u8(0xc0)
    else write()
  }
  const fields = (): void => {
    const chosen = filterFields.filter(() => !random.oneIn(3))
    to.map(chosen.length)
    for (const name of chosen) {
      // What is right comes first in each list.
      const among = values[name].slice(0, random.oneIn(6) ? undefined : 3)
      field(name, () => to.text(random.pick(among)))
    }
  }
  to.begin()
  to.map(op === 'createToken' ? 9 : 8)
  to.text('op')
  to.text(op)
  field('id', () => to.uint(1))
  field('filter', fields)
  field('bindings', () => {
    const count = random.size(random.oneIn(40) ? 600 : 3)
    to.array(count)
    for (let i = 0; i < count; i++) fields()
  })
  field('quota', () => {
    const count = random.below(3)
    to.map(count)
    for (let i = 0; i < count; i++)
      field(random.pick(quotaWords.slice(i)), () => to.uint(random.pick([0, 1, 1000, 2 ** 53])))
  })
  field('principal', () => to.text(random.pick(values.principal)))
  if (op === 'mintToken') {
    field('limited', () => to.u8(0xc2 + random.below(2)))
    field('grants', () => {
      const count = random.size(random.oneIn(30) ? 40 : 2)
      to.array(count)
      for (let i = 0; i < count; i++) {
        to.map(4)
        for (const name of ['resource', 'pattern', 'name'] as const)
          field(name, () =>
            to.text(
              random.pick(
                name === 'name' ? ['chat-', 'chat-1', 'chat', '*', ''] : values[name].slice(0, 2),
              ),
            ),
          )
        field('operations', () => {
          to.array(1)
          to.text(random.pick(values.operation))
        })
      }
    })
  } else {
    field('dryRun', () => to.u8(0xc2 + random.below(2)))
    field('tokenId', () =>
      to.text(random.pick(['a', 'b', 'c', 'A']).repeat(random.oneIn(9) ? 15 : 16)),
    )
  }
  if (op === 'createToken') {
    to.text('hash')
    to.binary(new Uint8Array(random.oneIn(9) ? 31 : 32))
  }
  return to.end()
}

// Frames as a broker sends them, with odd values at odd places: pushes of records, of shares of a group, records of a share group, and replies.
//
// Several make an input, each behind its length as u16. See targets/client.ts for `answer`.

import { compressBatch, encodeBatch } from '../../wire/batch.ts'
import { type Frame, packFrame } from '../../wire/frame.ts'
import { MsgpackMaker } from './msgpack-maker.ts'
import type { FuzzRandom } from './random.ts'

const plainBatches = ['a', 'b', 'c'].map(value =>
  encodeBatch([{ key: 'k', value }, { value }], { now: 1 }),
)

/** Two records each; the last two are compressed. */
export const sampleBatches = [
  ...plainBatches,
  ...(await Promise.all(
    ['d', 'e'].map(value =>
      compressBatch(
        encodeBatch([{ value: value.repeat(400) }, { value: value.repeat(300) }], { now: 1 }),
        'gzip',
      ),
    ),
  )),
]

let maker: MsgpackMaker | undefined

/** An input of these frames. */
export function joined(frames: readonly Frame[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(frames.flatMap(frame => lengthBefore(packFrame(frame)))))
}

function lengthBefore(bytes: Uint8Array): Uint8Array[] {
  return [Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes]
}

const codes = ['OFFSET_TRIMMED', 'UNKNOWN_TOPIC', 'UNKNOWN_MEMBER', 'UNKNOWN_GROUP', 'INVALID_RECORD_STATE', 'AUTHORIZATION_FAILED', 'STALE_GENERATION', 'STALE_PARTITIONS', 'UNKNOWN_PRODUCER', 'OUT_OF_ORDER_SEQUENCE', 'NOT_LEADER', 'LOG_UNAVAILABLE', 'OUTCOME_UNKNOWN', 'LIMIT_EXCEEDED', 'INTERNAL', 'NEW_CODE', '__proto__'] as const // biome-ignore format: a list
const numbers = [0, 0, 1, 1, 2, 3, 4, 9, 2 ** 31, 2 ** 32, 2 ** 53 - 1] as const

/** Frames as a broker sends them, with odd values at odd places. */
export function framesFrom(random: FuzzRandom): Uint8Array {
  if (maker?.random !== random) maker = new MsgpackMaker(random, 3000)
  const to = maker
  type Write = () => void
  const odd = (write: Write): void => (random.oneIn(40) ? to.value(2) : write())
  const number: Write = () => to.uint(random.pick(numbers))
  const text =
    (...words: readonly string[]): Write =>
    () =>
      to.text(random.pick(words))
  const map = (fields: Readonly<Record<string, Write>>): void => {
    const chosen = Object.entries(fields).filter(() => !random.oneIn(25))
    to.map(chosen.length)
    for (const [name, write] of chosen) {
      to.text(name)
      odd(write)
    }
  }
  const list = (write: Write) => (): void => {
    const count = random.size(3)
    to.array(count)
    for (let i = 0; i < count; i++) odd(write)
  }
  const error: Write = () =>
    map({
      code: text(...codes),
      message: text('m'),
      retriable: () => to.u8(0xc2 + random.below(2)),
      start: number,
      partitions: number,
      retryAfterMs: () => to.uint(random.below(2)),
    })
  const place = {
    topic: text('t', 't', 'u'),
    partition: () => to.uint(random.oneIn(9) ? 7 : 0),
    generation: () => to.uint(random.below(3)),
  }
  const batch: Write = () => {
    const bytes = random.pick(sampleBatches).slice()
    if (random.oneIn(4)) bytes[random.below(bytes.length)] = random.u32()
    to.binary(random.oneIn(30) ? bytes.subarray(0, random.below(bytes.length)) : bytes)
  }
  const sub: Write = () => to.uint(random.oneIn(9) ? random.below(9) : 1 + random.below(2))
  const assignment = {
    assigned: list(() => map({ ...place, offset: number, until: number, partitions: number })),
    revoking: list(() => map(place)),
  }
  /** Items of two records each, from `offset` on; where they end. */
  const itemsFrom = (offset: { at: number }): Write =>
    list(() => {
      const from = offset.at
      offset.at += 2
      if (random.oneIn(6))
        map({
          gap: text('lost', 'trimmed', 'compacted'),
          offset: () => to.uint(from),
          next: () => to.uint(offset.at),
        })
      else map({ offset: () => to.uint(from), batch })
    })
  const run: Write = () => {
    to.array(3)
    odd(() => to.uint(random.below(6)))
    odd(random.oneIn(9) ? number : () => to.uint(1 + random.below(3)))
    odd(() => to.uint(1 + random.below(7)))
  }
  const kinds: readonly Write[] = [
    () => {
      const offset = { at: random.below(6) }
      map({
        op: text('deliver'),
        sub,
        items: itemsFrom(offset),
        next: () => to.uint(offset.at),
        bytes: () => to.uint(200),
        end: number,
      })
    },
    () =>
      map({
        op: text('deliver'),
        sub,
        items: () => to.array(0),
        next: number,
        bytes: number,
        end: number,
        partitions: number,
      }),
    () => map({ op: text('end'), sub, error }),
    () => map({ op: text('assignment'), group: text('g'), memberId: text('M'), ...assignment }),
    () => map({ op: text('assignment'), group: text('g'), memberId: text('M'), error }),
    () =>
      map({
        op: text('brokers', 'goaway', 'news'),
        brokers: list(() => map({ nodeId: text('n'), url: text('no', 'ws:') })),
      }),
    () => map({ answer: text('subscribe'), sub, offset: number, end: number, partitions: number }),
    () => map({ answer: text('joinGroup'), ...assignment }),
    () =>
      map({
        answer: text('produce'),
        offset: number,
        lsn: number,
        timestamp: number,
        throttleMs: () => to.uint(random.below(3)),
      }),
    () =>
      map({
        answer: text('describeTopic'),
        partitions: list(() => map(place)),
        epochs: list(() => map({ partitions: number, lsn: number, ends: list(number) })),
      }),
    () => map({ answer: text('initProducer'), producerId: number, producerEpoch: number }),
    () =>
      map({
        answer: text('shareFetch'),
        waitedMs: number,
        records: list(() =>
          map({
            topic: place.topic,
            partition: place.partition,
            acquired: list(run),
            items: itemsFrom({ at: random.below(4) }),
          }),
        ),
      }),
    () =>
      map({
        answer: text('shareAcknowledge'),
        refused: list(() =>
          map({ topic: place.topic, partition: place.partition, offset: number, count: number }),
        ),
      }),

    () =>
      map({
        answer: text(
          'subscribe',
          'joinGroup',
          'produce',
          'describeTopic',
          'initProducer',
          'commitOffsets',
          'openShareGroup',
          'shareFetch',
          'shareAcknowledge',
          'leaveShareGroup',
          'ping',
        ),
        error,
      }),
  ]
  const frames: Uint8Array[] = []
  for (let left = 1 + random.below(5); left > 0; left--) {
    to.begin()
    // Pushes of records are what there is most of.
    ;(random.oneIn(3) ? (kinds[0] as Write) : random.pick(kinds))()
    const bytes = to.end()
    if (bytes.length < 2000) frames.push(...lengthBefore(bytes.slice()))
  }
  return Uint8Array.from(Buffer.concat(frames))
}

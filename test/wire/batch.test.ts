import { gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  BatchBuilder,
  type BatchRecord,
  batchHeaderBytes,
  checkBatch,
  compressBatch,
  crc32,
  decodeBatch,
  decodeBatchSync,
  encodeBatch,
  type RecordInput,
  readBatchHeader,
  stampProducer,
  supportedCodecs,
  wireLimits,
} from '../../wire/index.ts'
import { findKeyless } from '../../wire/batch.ts'
import { codeOf, codeOfError, hex, join } from './bytes.ts'

const now = 1_760_000_000_000
const bytesMax = wireLimits.batchBytesMax
const two: readonly RecordInput[] = [
  { key: 'k', value: 'v', headers: { h: 'x' }, timestamp: now },
  { value: null, timestamp: now + 300 },
]

/** Writes the CRC that fits, as somebody who builds a hostile batch would. */
function sealed(batch: Uint8Array): Uint8Array {
  new DataView(batch.buffer, batch.byteOffset).setUint32(4, crc32(batch.subarray(8)))
  return batch
}

/** A batch around `body` whose header tells the truth unless `lies` says otherwise. */
function batchAround(
  body: Uint8Array,
  lies: { count?: number; span?: number; raw?: number; codec?: number; sparse?: boolean } = {},
): Uint8Array {
  const batch = join(new Uint8Array(batchHeaderBytes), body)
  const view = new DataView(batch.buffer)
  view.setUint16(0, 0xb101)
  view.setUint8(8, lies.codec ?? 0)
  view.setUint8(9, lies.sparse === true ? 1 : 0)
  view.setUint32(12, body.length)
  view.setUint32(16, lies.count ?? 1)
  view.setUint32(20, lies.span ?? lies.count ?? 1)
  view.setUint32(24, lies.raw ?? body.length)
  return sealed(batch)
}

async function codeOfAsync(run: Promise<unknown>): Promise<unknown> {
  return run.then(() => undefined, codeOfError)
}

describe('the format', () => {
  // Computed by a program of another language from the page's layout alone: these bytes may never change.
  it('of a batch is what it was when it was released', () => {
    const producer = { producerId: 2 ** 32 + 7, producerEpoch: 3, baseSequence: 9 }
    expect(Buffer.from(encodeBatch(two, { now: 0, producer })).toString('hex')).toBe(
      'b10100004bc0393a00000000000000170000000200000002000000170000000900000199c82cc000' +
        '00000199c82cc12c000000010000000700000003000000009294c4016bc4017692d90168c401780094c0c0c0cd012c',
    )
  })

  it('of a sparse batch too', () => {
    const sparse = encodeBatch([{ key: 'k', value: 'v', timestamp: 1000 }], {
      now: 0,
      offsetDeltas: [4],
      span: 6,
    })
    expect(Buffer.from(sparse).toString('hex')).toBe(
      'b1010000c02d12bf000300000000000b00000001000000060000000b000000000000000000000' +
        '3e800000000000003e8000000000000000000000000000000009195c4016bc40176c00004',
    )
  })

  it('of a batch that does not say that all records have keys is read, too', () => {
    const sparse = hex(
      'b101000053fe4881000100000000000b00000001000000060000000b000000000000000000000' +
        '3e800000000000003e8000000000000000000000000000000009195c4016bc40176c00004',
    )
    expect(checkBatch(sparse, { bytesMax })).toMatchObject({ sparse: true, keyed: false, span: 6 })
    expect(decodeBatchSync(sparse)).toMatchObject([{ offsetDelta: 4, timestamp: 1000 }])
  })

  it('is read back field by field', () => {
    const producer = { producerId: 2 ** 32 + 7, producerEpoch: 3, baseSequence: 2 ** 31 - 1 }
    expect(checkBatch(encodeBatch(two, { now: 0, producer }), { bytesMax })).toEqual({
      codec: 'none',
      sparse: false,
      keyed: false,
      bodyLength: 23,
      count: 2,
      span: 2,
      rawLength: 23,
      baseTimestamp: now,
      maxTimestamp: now + 300,
      ...producer,
    })
  })

  it('takes what other msgpack libraries write: wide lengths, wide and float integers', () => {
    const row = hex('dc0004 c6000000016b c5000176 c0 cb408f400000000000')
    const [record] = decodeBatchSync(batchAround(join(hex('dd00000001'), row)))
    expect(record).toMatchObject({ timestamp: 1000, offsetDelta: 0, headers: [] })
    expect(Buffer.from(record?.key ?? []).toString()).toBe('k')
    for (const delta of [
      'cc80',
      'cd0080',
      'ce00000080',
      'cf0000000000000080',
      'd10080',
      'd200000080',
      'd30000000000000080',
    ])
      expect(
        decodeBatchSync(batchAround(join(hex('9194c0c0c0'), hex(delta))))[0]?.timestamp,
        delta,
      ).toBe(128)
    expect(decodeBatchSync(batchAround(hex('9194c0c0c0d07f')))[0]?.timestamp).toBe(127)
  })
})

const content = fc.option(
  fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string({ unit: 'binary', maxLength: 100 })),
)
const inputs = fc.array(
  fc.record(
    {
      key: content,
      value: content,
      headers: fc.array(
        fc.tuple(
          fc.string({ unit: 'binary', maxLength: 40 }),
          fc.oneof(fc.string(), fc.uint8Array()),
        ),
        { maxLength: 20 },
      ),
      timestamp: fc.oneof(fc.integer({ min: now - 1e9, max: now + 1e9 }), fc.maxSafeNat()),
    },
    { requiredKeys: [] },
  ),
  { minLength: 1, maxLength: 40 },
)

function asBytes(value: string | Uint8Array | null | undefined): string | null {
  return value === null || value === undefined ? null : Buffer.from(value as string).toString('hex')
}

function expected(record: RecordInput): unknown {
  return {
    key: asBytes(record.key),
    value: asBytes(record.value),
    headers: ((record.headers ?? []) as [string, string | Uint8Array][]).map(([name, value]) => [
      name,
      asBytes(value),
    ]),
    timestamp: record.timestamp ?? now,
  }
}

function actual({ key, value, headers, timestamp }: BatchRecord): unknown {
  return {
    key: asBytes(key),
    value: asBytes(value),
    headers: headers.map(([name, bytes]) => [name, asBytes(bytes)]),
    timestamp,
  }
}

describe('records', () => {
  it('come back as they were given, in any order of timestamps', () => {
    fc.assert(
      fc.property(inputs, records => {
        const decoded = decodeBatchSync(encodeBatch(records, { now }))
        expect(decoded.map(actual)).toEqual(records.map(expected))
        expect(decoded.map(record => record.offsetDelta)).toEqual(records.map((_, i) => i))
      }),
    )
  })

  it('come back from every codec of this runtime', async () => {
    await fc.assert(
      fc.asyncProperty(inputs, fc.constantFrom(...supportedCodecs), async (records, codec) => {
        const batch = encodeBatch(records, { now })
        const compressed = await compressBatch(batch, codec)
        expect(compressed.length).toBeLessThanOrEqual(batch.length)
        checkBatch(compressed, { bytesMax })
        expect((await decodeBatch(compressed)).map(actual)).toEqual(records.map(expected))
      }),
    )
  })

  it('keep their offsets in a sparse batch', () => {
    const sparse = encodeBatch([{ value: 'a' }, { value: 'b' }], {
      now,
      offsetDeltas: [1, 5],
      span: 9,
    })
    expect(readBatchHeader(sparse)).toMatchObject({ sparse: true, count: 2, span: 9 })
    expect(decodeBatchSync(sparse).map(record => record.offsetDelta)).toEqual([1, 5])
    expect(readBatchHeader(encodeBatch([{ value: 'a' }], { now, span: 4 }))).toMatchObject({
      sparse: true,
      span: 4,
    })
    expect(readBatchHeader(encodeBatch([{ value: 'a' }], { now, offsetDeltas: [4] })).span).toBe(5)
  })

  it('come back at the borders of every width', () => {
    const borders = [0, 31, 63, 64, 85, 86, 127, 128, 255, 256, 21_845, 21_846, 65_535, 65_536]
    const records = borders.flatMap(length => [
      {
        key: 'x'.repeat(length),
        value: new Uint8Array(length),
        headers: { ['n'.repeat(length)]: 'é'.repeat(length) },
        timestamp: length,
      },
      { timestamp: 2 ** 32 + length - 256 },
    ])
    const decoded = decodeBatchSync(encodeBatch(records, { now }))
    expect(
      decoded.map(({ key, value, headers, timestamp }) => [
        key?.length ?? 0,
        value?.length ?? 0,
        headers[0]?.[0].length ?? 0,
        headers[0]?.[1].length ?? 0,
        timestamp,
      ]),
    ).toEqual(
      borders.flatMap(n => [
        [n, n, n, 2 * n, n],
        [0, 0, 0, 0, 2 ** 32 + n - 256],
      ]),
    )
  })

  it('keep a byte order mark at the beginning of a header name', () => {
    const batch = encodeBatch([{ headers: { '\uFEFFname': 'x' } }], { now })
    expect(decodeBatchSync(batch)[0]?.headers[0]?.[0]).toBe('\uFEFFname')
  })

  it('may have more than 65,535 neighbours, headers of more than 15 items and long text', () => {
    const many = Array.from({ length: 70_000 }, () => ({ value: 'x' }))
    expect(decodeBatchSync(encodeBatch(many, { now }))).toHaveLength(70_000)
    const headers = Array.from({ length: 20 }, (_, i) => [`name-${i}`, 'ü'.repeat(i * 10)] as const)
    const long = { key: 'ß'.repeat(70), value: 'x'.repeat(70_000), headers }
    expect(decodeBatchSync(encodeBatch([long], { now })).map(actual)).toEqual([
      {
        key: asBytes(long.key),
        value: asBytes(long.value),
        headers: headers.map(([n, v]) => [n, asBytes(v)]),
        timestamp: now,
      },
    ])
  })
})

describe('a builder', () => {
  it('is full at its limit, to the byte, and leaves no trace of what it refused', () => {
    const limit = 1000
    const builder = new BatchBuilder({ bytesMax: limit, now })
    const record = { key: 'key', value: 'x'.repeat(50) }
    while (builder.tryAppend(record));
    const { count, bytes } = builder
    expect(builder.tryAppend({ value: 'x'.repeat(2000) })).toBe(false)
    expect(builder).toMatchObject({ count, bytes })
    const batch = builder.build()
    expect(batch.length).toBeLessThanOrEqual(limit)
    expect(batch.length).toBeGreaterThan(limit - 70)
    expect(decodeBatchSync(batch).map(actual)).toEqual(
      Array.from({ length: count }, () => expected(record)),
    )
  })

  it('says that a record fits no batch', () => {
    const builder = new BatchBuilder({ bytesMax: 200, now })
    expect(() => builder.tryAppend({ value: new Uint8Array(200) })).toThrow(
      expect.objectContaining({
        code: 'MESSAGE_TOO_LARGE',
        details: expect.objectContaining({ limit: 200 }),
      }),
    )
    expect(builder.tryAppend({ value: 'small' })).toBe(true)
    expect(decodeBatchSync(builder.build())).toHaveLength(1)
  })

  it('keeps records with timestamps of their own in one batch when they are a little out of order', () => {
    const builder = new BatchBuilder({ bytesMax, now })
    const timestamps = [now, now - 60_000, now + 5, now - 3_600_000]
    for (const timestamp of timestamps)
      expect(builder.tryAppend({ value: 'x', timestamp })).toBe(true)
    const batch = builder.build()
    expect(readBatchHeader(batch).maxTimestamp).toBe(now + 5)
    expect(decodeBatchSync(batch).map(record => record.timestamp)).toEqual(timestamps)
  })

  it('refuses a record older than its timestamps reach, which begins the next batch', () => {
    const builder = new BatchBuilder({ bytesMax, now })
    expect(builder.tryAppend({ value: 'x' })).toBe(true)
    expect(builder.tryAppend({ value: 'x', timestamp: now - 1 })).toBe(false)
    expect(builder.count).toBe(1)
  })

  it.each([
    ['a fractional timestamp', { timestamp: 1.5 }, 'NUMBER_OUT_OF_RANGE'],
    ['a negative timestamp', { timestamp: -1 }, 'NUMBER_OUT_OF_RANGE'],
    ['a timestamp that is no number', { timestamp: Number.NaN }, 'NUMBER_OUT_OF_RANGE'],
    ['a number as key', { key: 5 }, 'INVALID_REQUEST'],
    ['an object as value', { value: {} }, 'INVALID_REQUEST'],
    ['nil as header value', { headers: { a: null } }, 'INVALID_REQUEST'],
    ['a number as header name', { headers: [[1, 'x']] }, 'INVALID_REQUEST'],
  ])('refuses %s and stays as it was', (_, record, code) => {
    const builder = new BatchBuilder({ bytesMax, now })
    builder.tryAppend({ value: 'before' })
    const { bytes } = builder
    expect(codeOf(() => builder.tryAppend(record as unknown as RecordInput))).toBe(code)
    expect(builder).toMatchObject({ count: 1, bytes })
    expect(decodeBatchSync(builder.build())).toHaveLength(1)
  })

  it('builds no empty batch', () => {
    expect(codeOf(() => new BatchBuilder({ bytesMax, now }).build())).toBe('INVALID_REQUEST')
    expect(codeOf(() => encodeBatch([], { now }))).toBe('INVALID_REQUEST')
  })

  it.each([
    ['falling deltas', [3, 2], 9],
    ['equal deltas', [2, 2], 9],
    ['a delta at the span', [1, 4], 4],
    ['fewer deltas than records', [1], 4],
  ])('refuses %s', (_, offsetDeltas, span) => {
    expect(codeOf(() => encodeBatch(two, { now, offsetDeltas, span }))).toBe('INVALID_REQUEST')
  })
})

describe('stamping', () => {
  it('changes the identity and nothing else', () => {
    const batch = encodeBatch(two, { now })
    const before = readBatchHeader(batch)
    const producer = {
      producerId: 2 ** 53 - 1,
      producerEpoch: 2 ** 32 - 1,
      baseSequence: 2 ** 31 - 1,
    }
    stampProducer(batch, producer)
    expect(checkBatch(batch, { bytesMax })).toEqual({ ...before, ...producer })
    expect(decodeBatchSync(batch)).toEqual(decodeBatchSync(encodeBatch(two, { now })))
  })

  it.each([
    ['a sequence of 2^31', { baseSequence: 2 ** 31 }],
    ['an epoch of 2^32', { producerEpoch: 2 ** 32 }],
    ['a negative id', { producerId: -1 }],
  ])('refuses %s', (_, wrong) => {
    const batch = encodeBatch(two, { now })
    const producer = { producerId: 1, producerEpoch: 0, baseSequence: 0, ...wrong }
    expect(codeOf(() => stampProducer(batch, producer))).toBe('NUMBER_OUT_OF_RANGE')
  })

  it('keeps the identity through compression', async () => {
    const producer = { producerId: 5, producerEpoch: 6, baseSequence: 7 }
    const batch = encodeBatch([{ value: 'x'.repeat(5000) }], { now, producer })
    const compressed = await compressBatch(batch, 'gzip')
    expect(checkBatch(compressed, { bytesMax })).toMatchObject({
      codec: 'gzip',
      rawLength: batch.length - 64,
      ...producer,
    })
    expect(await compressBatch(compressed, 'gzip')).toBe(compressed)
    expect(await compressBatch(batch, 'none')).toBe(batch)
  })
})

describe('the broker refuses', () => {
  it('a batch with any bit of it flipped', () => {
    const good = encodeBatch(two, {
      now,
      producer: { producerId: 1, producerEpoch: 2, baseSequence: 3 },
    })
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = good.slice()
      bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7))
      const allowed = bit >> 3 === 8 ? ['BATCH_CORRUPT', 'UNSUPPORTED_CODEC'] : ['BATCH_CORRUPT']
      expect(allowed, `bit ${bit}`).toContain(codeOf(() => checkBatch(bad, { bytesMax })))
    }
  })

  it('a batch cut anywhere, or with a byte behind it', () => {
    const good = encodeBatch(two, { now })
    for (let length = 0; length < good.length; length++)
      expect(codeOf(() => checkBatch(good.subarray(0, length), { bytesMax }))).toBe('BATCH_CORRUPT')
    expect(codeOf(() => checkBatch(join(good, [0]), { bytesMax }))).toBe('BATCH_CORRUPT')
  })

  // With a CRC that fits: the fields are checked for themselves.
  it.each<[string, number, 1 | 2 | 4, number, string]>([
    ['another magic', 0, 1, 0xb2, 'BATCH_CORRUPT'],
    ['another version', 1, 1, 2, 'BATCH_CORRUPT'],
    ['bytes 2 and 3 not zero', 2, 2, 1, 'BATCH_CORRUPT'],
    ['an unknown codec', 8, 1, 3, 'UNSUPPORTED_CODEC'],
    ['an unknown flag', 9, 1, 4, 'BATCH_CORRUPT'],
    ['bytes 10 and 11 not zero', 10, 2, 0x8000, 'BATCH_CORRUPT'],
    ['a longer body than there is', 12, 4, 24, 'BATCH_CORRUPT'],
    ['a shorter body than there is', 12, 4, 22, 'BATCH_CORRUPT'],
    ['no records', 16, 4, 0, 'BATCH_CORRUPT'],
    ['a span above the count when not sparse', 20, 4, 3, 'BATCH_CORRUPT'],
    ['a span below the count', 20, 4, 1, 'BATCH_CORRUPT'],
    ['a rawLength that is not bodyLength without codec', 24, 4, 99, 'BATCH_CORRUPT'],
    ['a sequence of 2^31', 28, 4, 2 ** 31, 'BATCH_CORRUPT'],
    ['a base timestamp beyond 2^53', 32, 4, 2 ** 21, 'BATCH_CORRUPT'],
    ['a base timestamp behind the largest', 32, 4, 2 ** 20, 'BATCH_CORRUPT'],
    ['a largest timestamp beyond 2^53', 40, 4, 2 ** 21, 'BATCH_CORRUPT'],
    ['a producer id beyond 2^53', 48, 4, 2 ** 21, 'BATCH_CORRUPT'],
    ['the last header bytes not zero', 60, 4, 1, 'BATCH_CORRUPT'],
  ])('%s', (_, at, size, value, code) => {
    const batch = encodeBatch(two, { now })
    const view = new DataView(batch.buffer, batch.byteOffset)
    if (size === 1) view.setUint8(at, value)
    else if (size === 2) view.setUint16(at, value)
    else view.setUint32(at, value)
    expect(codeOf(() => checkBatch(sealed(batch), { bytesMax }))).toBe(code)
  })

  it('a batch above the limit, with limit and size', () => {
    const batch = encodeBatch(two, { now })
    expect(() => checkBatch(batch, { bytesMax: batch.length - 1 })).toThrow(
      expect.objectContaining({
        code: 'MESSAGE_TOO_LARGE',
        details: { limit: batch.length - 1, actual: batch.length },
      }),
    )
    checkBatch(batch, { bytesMax: batch.length })
  })

  it('a small batch that says it becomes too large to open', async () => {
    const raw = wireLimits.batchRawBytesMax + 1
    const bomb = batchAround(gzipSync(hex('9194c0c0c000')), { codec: 1, raw })
    expect(codeOf(() => checkBatch(bomb, { bytesMax }))).toBe('MESSAGE_TOO_LARGE')
    expect(await codeOfAsync(decodeBatch(bomb))).toBe('BATCH_CORRUPT')
  })
})

describe('a reader reports BATCH_CORRUPT for', () => {
  it.each<[string, string, Parameters<typeof batchAround>[1]]>([
    ['an empty body', '', {}],
    ['a body that is no array', 'c0', {}],
    ['fewer records than the header says', '9194c0c0c000', { count: 2 }],
    ['more records than the header says', '9294c0c0c00094c0c0c000', { count: 1 }],
    ['a count that no body of this size holds', 'dd00040000', { count: 262_144 }],
    ['a record with three fields', '9193c0c0c0', {}],
    ['a record with five fields when not sparse', '9195c0c0c00000', {}],
    ['a record with four fields when sparse', '9194c0c0c000', { sparse: true }],
    ['a string as key', '9194a16bc0c000', {}],
    ['a number as value', '9194c005c000', {}],
    ['an extension as value', '9194c0d47800c000', {}],
    ['a map as headers', '9194c0c08000', {}],
    ['an odd number of header items', '9194c0c091a16100', {}],
    ['a header name that is binary', '9194c0c092c40161c4017800', {}],
    ['a header value that is nil', '9194c0c092a161c000', {}],
    ['a header value that is text', '9194c0c092a161a16200', {}],
    ['a negative timestamp delta', '9194c0c0c0ff', {}],
    ['a negative int16 timestamp delta', '9194c0c0c0d1ff00', {}],
    ['a fractional timestamp delta', '9194c0c0c0cb3ff8000000000000', {}],
    ['a timestamp delta beyond 2^53', '9194c0c0c0cf0020000000000000', {}],
    ['a key longer than the body', '9194c4ff6bc0c000', {}],
    ['a key of 2^32 - 1 bytes', '9194c6ffffffffc0c000', {}],
    ['a length cut in two', '9194c5ff', {}],
    ['a byte behind the last record', '9194c0c0c000c0', {}],
    ['an offset delta at the span', '9195c0c0c00005', { sparse: true, span: 5 }],
    [
      'offset deltas that do not grow',
      '9295c0c0c0000195c0c0c00001',
      { sparse: true, count: 2, span: 5 },
    ],
  ])('%s', async (_, body, lies) => {
    const batch = batchAround(hex(body), lies)
    checkBatch(batch, { bytesMax })
    expect(codeOf(() => decodeBatchSync(batch))).toBe('BATCH_CORRUPT')
    expect(await codeOfAsync(decodeBatch(batch))).toBe('BATCH_CORRUPT')
  })

  const body = hex('9194c0c0c000')
  const million = join(hex('9194c0c6000f4240'), new Uint8Array(1_000_000), hex('c000'))

  it.each<[string, Uint8Array, number]>([
    ['a gzip body that yields more than rawLength', gzipSync(million), 1000],
    ['a gzip body that yields one byte more', gzipSync(body), body.length - 1],
    ['a gzip body that yields one byte less', gzipSync(body), body.length + 1],
    ['a gzip body and rawLength 0', gzipSync(body), 0],
    ['a gzip body that is cut', gzipSync(million).subarray(0, 500), million.length],
    ['a gzip body that is none', hex('00010203'), 6],
    ['an empty gzip body', hex(''), 6],
  ])('%s', async (_, compressed, raw) => {
    const batch = batchAround(compressed, { codec: 1, raw })
    checkBatch(batch, { bytesMax })
    expect(await codeOfAsync(decodeBatch(batch))).toBe('BATCH_CORRUPT')
  })

  it('nothing but this, whatever the body', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.boolean(), (tail, sparse) => {
        const batch = batchAround(join([0x91, sparse ? 0x95 : 0x94], tail), {
          sparse,
          span: sparse ? 9 : 1,
        })
        expect([undefined, 'BATCH_CORRUPT']).toContain(codeOf(() => decodeBatchSync(batch)))
      }),
      { numRuns: 3000 },
    )
  })

  it('damaged bodies too, when their CRC fits', () => {
    fc.assert(
      fc.property(
        inputs,
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 3 }),
        (records, changes) => {
          const batch = encodeBatch(records, { now })
          for (const [at, byte] of changes)
            batch[batchHeaderBytes + (at % (batch.length - batchHeaderBytes))] = byte
          expect([undefined, 'BATCH_CORRUPT']).toContain(
            codeOf(() => decodeBatchSync(sealed(batch))),
          )
        },
      ),
      { numRuns: 1000 },
    )
  })
})

describe('codecs', () => {
  it('that this runtime lacks are UNSUPPORTED_CODEC for readers, and no reason to refuse a batch', async () => {
    const batch = batchAround(hex('28b52ffd'), { codec: 2, raw: 6 })
    checkBatch(batch, { bytesMax })
    expect(await codeOfAsync(decodeBatch(batch))).toBe(
      supportedCodecs.includes('zstd') ? 'BATCH_CORRUPT' : 'UNSUPPORTED_CODEC',
    )
    const plain = encodeBatch([{ value: 'x'.repeat(5000) }], { now })
    expect(await codeOfAsync(compressBatch(plain, 'zstd'))).toBe(
      supportedCodecs.includes('zstd') ? undefined : 'UNSUPPORTED_CODEC',
    )
  })

  it('need decodeBatch: the synchronous one opens plain batches only', async () => {
    const compressed = await compressBatch(
      encodeBatch([{ value: 'x'.repeat(5000) }], { now }),
      'gzip',
    )
    expect(codeOf(() => decodeBatchSync(compressed))).toBe('UNSUPPORTED_CODEC')
  })

  it('are not used when they make a batch larger', async () => {
    const batch = encodeBatch([{ value: 'x' }], { now })
    expect(await compressBatch(batch, 'gzip')).toBe(batch)
  })
})

describe('crc32', () => {
  it('is the one of IEEE 802.3', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926)
    expect(crc32(new TextEncoder().encode('56789'), crc32(new TextEncoder().encode('1234')))).toBe(
      0xcbf43926,
    )
    expect(crc32(new Uint8Array())).toBe(0)
  })
})

describe('a reader refuses', () => {
  it('more headers than a batch may have', async () => {
    const { batchElementsMax } = wireLimits
    const head = hex('9194c0c0dd')
    const pairs = Buffer.alloc(4)
    pairs.writeUInt32BE(2 * batchElementsMax)
    const headers = Buffer.alloc(3 * batchElementsMax, hex('a0c400'))
    const batch = batchAround(join(head, pairs, headers, hex('00')))
    expect(await codeOfAsync(decodeBatch(batch))).toBe('BATCH_CORRUPT')
    await expect(findKeyless(batch, readBatchHeader(batch))).rejects.toMatchObject({
      code: 'BATCH_CORRUPT',
    })
  })

  it('more records than a batch may have, and a producer hears of it at once', () => {
    const limit = wireLimits.batchElementsMax
    const body = Buffer.concat([
      hex('dd00040001'),
      Buffer.alloc(5 * (limit + 1), hex('94c0c0c000')),
    ])
    const batch = batchAround(body, { count: limit + 1 })
    expect(codeOf(() => checkBatch(batch, { bytesMax: 4 << 20 }))).toBe('MESSAGE_TOO_LARGE')
    expect(codeOf(() => decodeBatchSync(batch))).toBe('BATCH_CORRUPT')
  })
})

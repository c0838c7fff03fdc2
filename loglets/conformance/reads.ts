// Rules of `readNext` and `readSlices`.

import assert from 'node:assert/strict'
import { position, type Slice } from '../contract.ts'
import {
  appendMany,
  bytesOf,
  entryOf,
  expectEntries,
  plain,
  range,
  readAll,
  rule,
  type Rules,
} from './suite.ts'

const slice = (at: number, start: number, length: number): Slice => ({
  position: position(at),
  start,
  length,
})

export const readRules: Rules = (fixture, api) => {
  rule(api, fixture, 'reads any range, in order and contiguous', async loglet => {
    await appendMany(loglet, 50)
    for (const [from, to] of [
      [0, 50],
      [0, 1],
      [49, 50],
      [13, 37],
    ] as const)
      await expectEntries(loglet, from, range(from, to))
    assert.deepEqual(await loglet.readNext(position(7), position(7), 1000), [])
  })

  rule(api, fixture, 'returns at least one item however small maxBytes is', async loglet => {
    await loglet.append(entryOf(0, 10_000))
    await loglet.append(entryOf(1, 10_000))
    for (const maxBytes of [0, 1, 9999]) {
      const items = await loglet.readNext(position(0), position(2), maxBytes)
      assert.ok(items.length >= 1)
      assert.deepEqual(items[0], { ...items[0], kind: 'entry', position: 0 })
    }
  })

  rule(api, fixture, 'stays near maxBytes', async loglet => {
    await Promise.all(range(0, 128).map(n => loglet.append(entryOf(n, 16 << 10))))
    const items = await loglet.readNext(position(0), position(128), 256 << 10)
    let bytes = 0
    for (const item of items) if (item.kind === 'entry') bytes += item.bytes.length
    assert.ok(bytes > 0 && bytes <= 512 << 10, `${bytes} bytes where 256 KiB were asked for`)
  })

  rule(api, fixture, 'reads entries of very different sizes', async loglet => {
    const sizes = range(0, 40).map(n => (n % 5 === 0 ? 200_000 : 8 + n))
    await Promise.all(sizes.map((size, n) => loglet.append(entryOf(n, size))))
    const items = await readAll(loglet, 0, 40, 64 << 10)
    items.forEach((item, n) => {
      assert.ok(item.kind === 'entry' && Buffer.compare(item.bytes, bytesOf(n, sizes[n])) === 0)
    })
  })

  rule(api, fixture, 'hands over bytes that the reader may change', async loglet => {
    await loglet.append(entryOf(3))
    const [item] = await loglet.readNext(position(0), position(1), 1000)
    if (item?.kind === 'entry') item.bytes.fill(0)
    const [part] = await loglet.readSlices([slice(0, 0, 8)])
    if (part instanceof Uint8Array) part.fill(0)
    await expectEntries(loglet, 0, [3])
  })

  rule(api, fixture, 'reads while it is written', async loglet => {
    const appends = (async () => {
      for (let n = 0; n < 200; n += 10) await appendMany(loglet, 10, n)
    })()
    for (let at = 0; at < 200; ) {
      const { tail } = await loglet.waitTail(position(at))
      await expectEntries(loglet, at, range(at, tail))
      at = tail
    }
    await appends
  })

  rule(api, fixture, 'reads slices in the order asked for', async loglet => {
    await Promise.all(range(0, 20).map(n => loglet.append(entryOf(n, 1000 + n))))
    const asked = [
      slice(19, 1000, 19),
      slice(0, 0, 1000),
      slice(7, 500, 1),
      slice(7, 0, 1007),
      slice(3, 1003, 0),
      slice(8, 1, 2),
      slice(0, 999, 1),
    ]
    const results = await loglet.readSlices(asked)
    assert.equal(results.length, asked.length)
    asked.forEach(({ position: at, start, length }, i) => {
      const result = results[i]
      assert.ok(result instanceof Uint8Array, `slice ${i} is a gap`)
      assert.deepEqual(plain(result), bytesOf(at, 1000 + at).slice(start, start + length))
    })
    assert.deepEqual(await loglet.readSlices([]), [])
  })

  rule(api, fixture, 'rejects a slice outside its entry with a RangeError', async loglet => {
    await Promise.all(range(0, 8).map(n => loglet.append(entryOf(n, 100))))
    for (const bad of [slice(3, 0, 101), slice(3, 100, 1), slice(3, -1, 5), slice(5, 99, 2)])
      await assert.rejects(loglet.readSlices([slice(0, 0, 10), bad]), RangeError)
    assert.equal((await loglet.readSlices([slice(3, 0, 100)])).length, 1)
  })
}

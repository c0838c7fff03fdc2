// Checkpoints: the whole state at one applied position, in a file outside the store (DESIGN 5.2). Below the trim point of the log the
// state is the only copy, so a trim needs a verified checkpoint at or past it, and the previous one is kept.
//
//   state/checkpoints/<applied, 16 digits>.ckpt
//   0 magic "LLCP"   4 u32 format 1   8 u64 applied   16 pairs { u32 key length, u32 value length, key, value } …   end: u32 0, u32 CRC-32 of all before
//
// Written to a temporary name, synced, read back and compared by CRC, renamed, directory synced.

import type { Disk } from '../../loglets/ports.ts'
import { crc32 } from '../../wire/crc32.ts'
import { allKeys, metaKey } from './keys.ts'
import type { StateStore, StoreOp, StorePair } from './store.ts'
import { getU64, setU64 } from '../../wire/u64.ts'

const magic = 0x4c4c4350
const format = 1
const headerBytes = 16
const pairsPerPage = 2048
const chunkBytes = 1 << 20
const keptCheckpoints = 2

/** Writes and verifies a checkpoint of the store, which MUST stand still meanwhile. Older ones than the previous are removed. @returns its bytes */
export async function writeCheckpoint(
  disk: Disk,
  dir: string,
  store: StateStore,
  applied: number,
): Promise<number> {
  await disk.mkdir(dir)
  const name = checkpointName(applied)
  const temporary = `${dir}/${name}.tmp`
  await disk.remove(temporary)
  const file = await disk.open(temporary, { create: true })
  let size = 0
  try {
    const header = new Uint8Array(headerBytes)
    const view = new DataView(header.buffer)
    view.setUint32(0, magic)
    view.setUint32(4, format)
    setU64(view, 8, applied)
    let at = header.length
    let crc = crc32(header)
    await file.write([header], 0)
    for (let low = allKeys.low; ; ) {
      const page = store.range({ low, high: allKeys.high, limit: pairsPerPage })
      const bytes = encodePairs(page)
      crc = crc32(bytes, crc)
      await file.write([bytes], at)
      at += bytes.length
      const last = page.at(-1)
      if (last === undefined || page.length < pairsPerPage) break
      // The next key in bytewise order.
      low = new Uint8Array([...last[0], 0])
    }
    const trailer = new Uint8Array(8)
    new DataView(trailer.buffer).setUint32(4, crc)
    await file.write([trailer], at)
    size = at + trailer.length
    await file.datasync()
  } finally {
    await file.close()
  }
  if ((await readCheckpoint(disk, temporary, () => {})) !== applied)
    throw new Error(`checkpoint ${name} does not read back`)
  await disk.rename(temporary, `${dir}/${name}`)
  await disk.syncDir(dir)
  const old = (await checkpointNames(disk, dir)).slice(0, -keptCheckpoints)
  for (const stale of old) await disk.remove(`${dir}/${stale}`)
  return size
}

/**
 * Fills the store from the newest checkpoint that verifies, whatever it held before. The row that makes it a state (`metaKey`) comes with the last commit:
 * a store without one is empty, or a restore of it came to no end, and is to be filled again.
 * @returns its applied position, or undefined when there is none: then the store is as it was
 */
export async function restoreCheckpoint(
  disk: Disk,
  dir: string,
  store: StateStore,
): Promise<number | undefined> {
  for (const name of (await checkpointNames(disk, dir)).reverse()) {
    const path = `${dir}/${name}`
    if ((await readCheckpoint(disk, path, () => {})) === undefined) continue
    let ops: StoreOp[] = []
    const last: StoreOp[] = []
    await store.clear()
    const applied = await readCheckpoint(disk, path, async ([key, value]) => {
      const op: StoreOp = { type: 'put', key: key.slice(), value: value.slice() }
      if (Buffer.compare(key, metaKey) === 0) last.push(op)
      else ops.push(op)
      if (ops.length < pairsPerPage) return
      const full = ops
      ops = []
      await store.commit(full)
    })
    await store.commit([...ops, ...last])
    return applied
  }
  return undefined
}

async function checkpointNames(disk: Disk, dir: string): Promise<string[]> {
  if (!(await disk.exists(dir))) return []
  return (await disk.list(dir)).filter(name => /^\d{16}\.ckpt$/.test(name))
}

/** Applied positions of the checkpoints in a directory, the newest last. Says nothing of whether they are whole. */
export async function checkpointsIn(disk: Disk, dir: string): Promise<readonly number[]> {
  return (await checkpointNames(disk, dir)).map(name => Number(name.slice(0, 16)))
}

/** Whether the file is a whole checkpoint at that position. */
export async function isCheckpoint(disk: Disk, path: string, applied: number): Promise<boolean> {
  return (await readCheckpoint(disk, path, () => {})) === applied
}

export function checkpointName(applied: number): string {
  return `${String(applied).padStart(16, '0')}.ckpt`
}

function encodePairs(pairs: readonly StorePair[]): Uint8Array {
  const bytes = new Uint8Array(pairs.reduce((sum, [k, v]) => sum + 8 + k.length + v.length, 0))
  const view = new DataView(bytes.buffer)
  let at = 0
  for (const [key, value] of pairs) {
    view.setUint32(at, key.length)
    view.setUint32(at + 4, value.length)
    bytes.set(key, at + 8)
    bytes.set(value, at + 8 + key.length)
    at += 8 + key.length + value.length
  }
  return bytes
}

/** Streams the pairs; returns the applied position, or undefined when the file is no whole checkpoint. */
async function readCheckpoint(
  disk: Disk,
  path: string,
  onPair: (pair: StorePair) => void | Promise<void>,
): Promise<number | undefined> {
  const file = await disk.open(path)
  try {
    const size = await file.size()
    if (size < headerBytes + 8) return undefined
    const header = await file.read(0, headerBytes)
    const view = viewOf(header)
    if (view.getUint32(0) !== magic || view.getUint32(4) !== format) return undefined
    let crc = crc32(header)
    const end = size - 8
    let rest: Uint8Array = new Uint8Array(0)
    for (let at = headerBytes; at < end; ) {
      // A pair that does not fit what was read is fetched whole: joined once, however large. One that the file cannot hold is damage.
      const missing = bytesMissing(rest)
      if (missing > end - at) return undefined
      const chunk = await file.read(at, Math.min(Math.max(chunkBytes, missing), end - at))
      if (chunk.length === 0) return undefined
      crc = crc32(chunk, crc)
      at += chunk.length
      rest = await takePairs(rest.length === 0 ? chunk : Buffer.concat([rest, chunk]), onPair)
    }
    const trailer = viewOf(await file.read(end, 8))
    if (rest.length > 0 || trailer.getUint32(0) !== 0 || trailer.getUint32(4) !== crc)
      return undefined
    return getU64(view, 8)
  } finally {
    await file.close()
  }
}

/** Of the pair that begins there: bytes still to come, or 1 as long as its lengths are not there. */
function bytesMissing(rest: Uint8Array): number {
  if (rest.length < 8) return 1
  const view = viewOf(rest)
  return 8 + view.getUint32(0) + view.getUint32(4) - rest.length
}

/** Hands out the whole pairs and returns what is left over. */
async function takePairs(
  bytes: Uint8Array,
  onPair: (pair: StorePair) => void | Promise<void>,
): Promise<Uint8Array<ArrayBuffer>> {
  const view = viewOf(bytes)
  let at = 0
  while (at + 8 <= bytes.length) {
    const keyEnd = at + 8 + view.getUint32(at)
    const end = keyEnd + view.getUint32(at + 4)
    if (end > bytes.length) break
    const pending = onPair([bytes.subarray(at + 8, keyEnd), bytes.subarray(keyEnd, end)])
    if (pending !== undefined) await pending
    at = end
  }
  return new Uint8Array(bytes.subarray(at))
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

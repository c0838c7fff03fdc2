// Keys of the state store: one prefix byte, then big-endian numbers, so that the bytewise order is the numeric order.
//
//   1                                meta: applied LSN, hash, log time, counters
//   2 topic                          topic
//   3 topic partition                partition
//   4 topic partition base           index entry of one batch
//   5 producer                       producer with its command lane
//   6 producer topic partition       produce lane
//   7 session                        session
//   8 group                          consumer group: members and claims
//   9 group topic partition          committed offset
//   10 lsn start                     which batch was put at this place of the log (places.ts)
//   11 lsn                           bytes of the log below it (log-meter.ts)
//   12 share group                   share group
//   13 share group topic partition   what it knows of the partition
//   14 id                            API key; the id's 16 characters
//   15 acl                           ACL binding
//   16 principal                     its quota; the principal in UTF-8
// topic, partition, start: u32; base, producer, session, group, lsn, acl: u64.

import { getU64, setU64 } from '../../wire/u64.ts'

export const metaKey = Uint8Array.of(1)
export const allKeys = { low: Uint8Array.of(0), high: new Uint8Array(32).fill(0xff) }

export const topicKey = (topicId: number): Uint8Array => key(2, [topicId])
export const partitionKey = (topicId: number, partition: number): Uint8Array =>
  key(3, [topicId, partition])
export const batchKey = (topicId: number, partition: number, base: number): Uint8Array =>
  key(4, [topicId, partition], base)
export const producerKey = (producerId: number): Uint8Array => key(5, [], producerId)
export const sessionKey = (session: number): Uint8Array => key(7, [], session)

export const laneKey = (producerId: number, topicId: number, partition: number): Uint8Array =>
  placed(6, producerId, topicId, partition)

export const groupKey = (groupId: number): Uint8Array => key(8, [], groupId)

export const groupOffsetKey = (groupId: number, topicId: number, partition: number): Uint8Array =>
  placed(9, groupId, topicId, partition)

export const shareGroupKey = (groupId: number): Uint8Array => key(12, [], groupId)
export const sharePartitionKey = (
  groupId: number,
  topicId: number,
  partition: number,
): Uint8Array => placed(13, groupId, topicId, partition)

export const apiKeyKey = (id: string): Uint8Array => textKey(14, id)
export const aclKey = (id: number): Uint8Array => key(15, [], id)
export const quotaKey = (principal: string): Uint8Array => textKey(16, principal)

/** In the order of the log. */
export function placeKey(lsn: number, start: number): Uint8Array {
  const bytes = new Uint8Array(13)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, 10)
  setU64(view, 1, lsn)
  view.setUint32(9, start)
  return bytes
}

/** The place inside a place key. */
export function placeOfKey(bytes: Uint8Array): { readonly lsn: number; readonly start: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return { lsn: getU64(view, 1), start: view.getUint32(9) }
}

export const markKey = (lsn: number): Uint8Array => key(11, [], lsn)

/** All keys with one prefix byte. */
export function prefixRange(
  prefix: 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13 | 14 | 15 | 16,
): {
  low: Uint8Array
  high: Uint8Array
} {
  const high = new Uint8Array(32).fill(0xff)
  high[0] = prefix
  return { low: Uint8Array.of(prefix), high }
}

/** The base offset inside a batch key. */
export function baseOfKey(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return getU64(view, 9)
}

/** Of something about one partition. */
function placed(prefix: number, owner: number, topicId: number, partition: number): Uint8Array {
  const bytes = new Uint8Array(17)
  bytes.set(key(prefix, [], owner))
  bytes.set(key(0, [topicId, partition]).subarray(1), 9)
  return bytes
}

function textKey(prefix: number, text: string): Uint8Array {
  return Uint8Array.of(prefix, ...new TextEncoder().encode(text))
}

function key(prefix: number, words: readonly number[], long?: number): Uint8Array {
  const bytes = new Uint8Array(1 + words.length * 4 + (long === undefined ? 0 : 8))
  const view = new DataView(bytes.buffer)
  view.setUint8(0, prefix)
  words.forEach((word, i) => view.setUint32(1 + i * 4, word))
  if (long !== undefined) setU64(view, 1 + words.length * 4, long)
  return bytes
}

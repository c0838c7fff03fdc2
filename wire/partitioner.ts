// Kafka's default partitioner: murmur2 of the key with Kafka's seed, made positive, modulo the number of partitions.

/** murmur2 of `bytes` as a signed 32-bit integer, as Kafka's Utils.murmur2 returns it. */
export function murmur2(bytes: Uint8Array): number {
  const { length } = bytes
  const m = 0x5bd1e995
  let h = 0x9747b28c ^ length
  const words = length & ~3
  for (let i = 0; i < words; i += 4) {
    let k =
      (bytes[i] as number) |
      ((bytes[i + 1] as number) << 8) |
      ((bytes[i + 2] as number) << 16) |
      ((bytes[i + 3] as number) << 24)
    k = Math.imul(k, m)
    k ^= k >>> 24
    h = Math.imul(h, m) ^ Math.imul(k, m)
  }
  const rest = length - words
  if (rest > 2) h ^= (bytes[words + 2] as number) << 16
  if (rest > 1) h ^= (bytes[words + 1] as number) << 8
  if (rest > 0) h = Math.imul(h ^ (bytes[words] as number), m)
  h ^= h >>> 13
  h = Math.imul(h, m)
  return h ^ (h >>> 15)
}

/** The partition of a key: `[0, partitions)`. */
export function partitionForKey(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions
}

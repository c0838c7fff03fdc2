// Bounds of the protocol: protocol.md 1, docs/limits.md. What a broker enforces per connection is told to clients in the hello reply.

const kib = 1024
const mib = 1024 * kib

/** Bytes, counts and milliseconds, as the names say. */
export const wireLimits = {
  /** Largest WebSocket message that the broker reads, bytes. */
  frameBytesMax: 2 * mib,
  /** One batch, header included, bytes. */
  batchBytesMax: mib + 64,
  /** Body of one batch once decompressed, bytes: bounds what a reader allocates for a small batch that claims much. */
  batchRawBytesMax: 64 * mib,
  /** Records and headers in one batch: each becomes an object, whatever few bytes it was compressed to. As many as 1 MiB has room for. */
  batchElementsMax: 262_144,
  /** Nesting of a frame; the frame's own map is level 1. */
  depthMax: 8,
  /** Array items and map pairs in a frame that a client sends. */
  elementsMax: 10_000,
  /** Array items and map pairs in a reply or push that the SDK takes: long listings are the broker's to send. */
  replyElementsMax: 1_000_000,
  /** Batches in flight per lane, and decisions kept. */
  producerInFlightMax: 5,
  /** Until the first frame. */
  helloTimeoutMs: 4500,
  /** Between WebSocket pings of the broker; a peer that did not answer by the next one is dropped. */
  pingIntervalMs: 20_000,
} as const

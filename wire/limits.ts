// Bounds of the protocol: protocol.md 1, docs/limits.md. What a broker enforces per connection is told to clients in the hello reply.

const kib = 1024
const mib = 1024 * kib

export const wireLimits = {
  /** Largest WebSocket message that the broker reads, bytes. */
  frameBytesMax: 2 * mib,
  /** One batch, header included, bytes. */
  batchBytesMax: mib + 64,
  /** Nesting of a frame; the frame's own map is level 1. */
  depthMax: 8,
  /** Array items and map pairs in a frame. */
  elementsMax: 10_000,
  /** Batches in flight per lane, and decisions kept. */
  producerInFlightMax: 5,
  helloTimeoutMs: 10_000,
  pingIntervalMs: 20_000,
} as const

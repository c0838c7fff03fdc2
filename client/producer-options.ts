// Settings of a producer, under Kafka's names in camelCase, with their defaults.
//
// The defaults are those of Kafka 4 (KIP-1030): linger 5 ms, idempotent, acks from all. This file decides nothing else.

import { type Codec, LogloomError, supportedCodecs } from '../wire/index.ts'
import { amount } from './amount.ts'

/** `key` is null for records without one; the result must lie in `[0, partitions)`. */
export type Partitioner = (topic: string, key: Uint8Array | null, partitions: number) => number

export interface ProducerOptions {
  /** When a record counts as written; 0 asks for no answer and promises nothing. Default `'all'`. */
  readonly acks?: 'all' | -1 | 0 | 1
  /** How long a batch waits for more records, milliseconds; default 5. */
  readonly lingerMs?: number
  /** Size at which a batch is sent without waiting, bytes; default 16384. */
  readonly batchSize?: number
  /** Bytes that may wait for acks before {@link Producer.ready} waits; default 32 MiB. */
  readonly maxInflightBytes?: number
  /** How long `send` and `ready` wait for room, milliseconds; default 60000. */
  readonly maxBlockMs?: number
  /** From when `send` has room for a record until its outcome must be known, retries included, milliseconds; default that of the client. Of an atomic batch: from `sendBatch`. */
  readonly deliveryTimeoutMs?: number
  readonly compressionType?: Codec
  /** Retries never duplicate nor reorder; default true, and false with `acks: 0`. */
  readonly enableIdempotence?: boolean
  /** Whoever produces under the same name fences all earlier ones, also after a restart: they get PRODUCER_FENCED. */
  readonly transactionalId?: string
  /** Largest batch, bytes; default what the broker takes. */
  readonly maxRequestSize?: number
  /** Default: murmur2 of the key; without a key one partition per batch in turn. */
  readonly partitioner?: Partitioner
  /** Called for all records that were not acked, for callers that keep no tickets: once for each batch, or for a record that got into none. What it throws is ignored. */
  readonly onRejected?: (error: LogloomError, batch: RejectedBatch) => void
}

/** How many records were rejected together; `partition` is −1 where none was chosen yet. */
export interface RejectedBatch {
  readonly topic: string
  readonly partition: number
  readonly count: number
}

export interface ProducerSettings {
  readonly acks: -1 | 0 | 1
  readonly lingerMs: number
  readonly batchSize: number
  readonly maxInflightBytes: number
  readonly maxBlockMs: number
  readonly deliveryTimeoutMs: number
  readonly codec: Codec
  readonly idempotent: boolean
  readonly maxRequestSize: number
  readonly partitioner: Partitioner | undefined
  readonly onRejected: (error: LogloomError, batch: RejectedBatch) => void
}

/** Fills in defaults. @throws INVALID_REQUEST, UNSUPPORTED_CODEC */
export function producerSettings(o: ProducerOptions, deliveryTimeoutMs: number): ProducerSettings {
  const acks = o.acks ?? 'all'
  if (acks !== 'all' && acks !== -1 && acks !== 0 && acks !== 1) {
    throw new LogloomError('INVALID_REQUEST', `acks is 'all', -1, 1 or 0, not ${String(acks)}`)
  }
  const codec = o.compressionType ?? 'none'
  if (!supportedCodecs.includes(codec)) {
    const known = supportedCodecs.join(', ')
    throw new LogloomError(
      'UNSUPPORTED_CODEC',
      `compressionType ${codec}: this runtime has ${known}`,
    )
  }
  return {
    acks: acks === 'all' ? -1 : acks,
    lingerMs: amount('lingerMs', o.lingerMs, 5, 0),
    batchSize: amount('batchSize', o.batchSize, 16_384, 1),
    maxInflightBytes: amount('maxInflightBytes', o.maxInflightBytes, 32 << 20, 1),
    maxBlockMs: amount('maxBlockMs', o.maxBlockMs, 60_000, 0),
    deliveryTimeoutMs: amount('deliveryTimeoutMs', o.deliveryTimeoutMs, deliveryTimeoutMs, 1),
    codec,
    idempotent: o.enableIdempotence !== false && acks !== 0,
    maxRequestSize: amount('maxRequestSize', o.maxRequestSize, Number.MAX_SAFE_INTEGER, 1),
    partitioner: o.partitioner,
    onRejected: heedless(o.onRejected),
  }
}

/** What a callback throws must not leave the end of a batch half done. */
function heedless(callback: ProducerOptions['onRejected']): ProducerSettings['onRejected'] {
  return (error, batch) => {
    try {
      callback?.(error, batch)
    } catch {
      // The callback's own business.
    }
  }
}

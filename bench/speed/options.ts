// Socket options that both sides of a comparison share.

export const socketOptions = {
  perMessageDeflate: false,
  maxPayload: 4 << 20,
  skipUTF8Validation: true,
} as const

/** What a load client is told, as JSON in its first argument. */
export interface LoadOptions {
  readonly url: string
  /** Say hello first: the broker wants it, the bare loop does not know it. */
  readonly hello: boolean
  readonly topic: string
  /** Bytes of one record's value. */
  readonly recordBytes: number
  /** Bytes of one batch, about. */
  readonly batchBytes: number
  readonly inFlight: number
  readonly seconds: number
  /** Batches per second; absent = as fast as replies come. */
  readonly rate?: number
}

/** What it answers, as one JSON line. */
export interface LoadResult {
  readonly batches: number
  readonly records: number
  readonly bytes: number
  readonly seconds: number
  /** Latency of one request, ms. */
  readonly p50: number
  readonly p99: number
}

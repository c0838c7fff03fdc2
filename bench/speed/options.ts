// What both sides of a comparison share: socket options, and what the load clients are told and answer.

import { scriptOf, startProcess } from '../processes.ts'

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
  /** Requests go to these in turn; 1 by default. */
  readonly partitions?: number
  /** Bytes of one record's value. */
  readonly recordBytes: number
  /** Bytes of one batch, about. */
  readonly batchBytes: number
  readonly inFlight: number
  readonly seconds: number
}

/** What it answers, as one JSON line. */
export interface LoadResult {
  readonly batches: number
  readonly records: number
  /** Of the values. */
  readonly bytes: number
  readonly seconds: number
  /** Latency of one request, ms. */
  readonly p50: number
  readonly p99: number
}

export type LoadShape = Omit<LoadOptions, 'url' | 'hello' | 'topic' | 'seconds'>

/** Runs a load client in a process of its own: frames made beforehand, or plain records by the SDK (which knows no latency of requests). */
export async function runLoad(
  options: LoadOptions,
  by: 'frames' | 'sdk' = 'frames',
): Promise<LoadResult> {
  const script = by === 'sdk' ? 'speed/sdk-client.js' : 'speed/load-client.js'
  const client = startProcess(scriptOf(script), [JSON.stringify(options)])
  try {
    return JSON.parse(await client.line()) as LoadResult
  } finally {
    await client.stop()
  }
}

/** Latency under a fixed pace, from when each piece was due, ms. */
export interface PacedResult {
  readonly p50: number
  readonly p99: number
  /** That were sent, all of them answered; absent where there are none. */
  readonly records?: number
}

/** Runs `script`, which keeps a pace and prints a {@link PacedResult}, in a process of its own. */
export async function runPaced(script: string, options: object): Promise<PacedResult> {
  const client = startProcess(scriptOf(script), [JSON.stringify(options)])
  try {
    return JSON.parse(await client.line()) as PacedResult
  } finally {
    await client.stop()
  }
}

export const megabytesPerSecond = ({ bytes, seconds }: LoadResult): number => bytes / 1e6 / seconds
export const recordsPerSecond = ({ records, seconds }: LoadResult): number => records / seconds

/** What a client is told that loads several brokers in turns, as JSON in its first argument. */
export interface TurnsOptions {
  readonly sides: readonly {
    readonly url: string
    /** Says who it is. */
    readonly token?: string
    /** PEM file of the authority of a broker with TLS. */
    readonly caFile?: string
  }[]
  readonly topic: string
  readonly recordBytes: number
  readonly batchBytes: number
  readonly inFlight: number
  /** A turn lasts so long, and until all that was sent is answered. */
  readonly turnMs: number
  readonly rounds: number
  /** Rounds before them that do not count. */
  readonly warmUps: number
}

/** What one broker did in one turn. */
export interface Turn {
  readonly requests: number
  /** Of the values. */
  readonly bytes: number
  readonly seconds: number
  /** Latency of one request, ms. */
  readonly p50: number
}

/** @returns the turns of each side, in order */
export async function runTurns(options: TurnsOptions): Promise<readonly (readonly Turn[])[]> {
  const client = startProcess(scriptOf('speed/turns-client.js'), [JSON.stringify(options)])
  try {
    return JSON.parse(await client.line()) as Turn[][]
  } finally {
    await client.stop()
  }
}

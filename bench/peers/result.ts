// What the comparison of brokers is told and what it finds out.

import type { Spread } from '../stats.ts'
import type { PeerKind } from './peer-client.ts'
import type { Durability } from './servers.ts'

export interface PeersParams {
  readonly rounds: number
  /** Of producing in each round; what was produced is then read. */
  readonly seconds: number
  readonly sizes: readonly number[]
  /** Records per second while latency is measured. */
  readonly rate: number
}

export interface PeerRow {
  readonly kind: PeerKind
  readonly durability: Durability
  readonly version: string
  readonly how: string
  /** Of each size. */
  readonly produce: readonly {
    readonly bytes: number
    readonly mb: Spread
    readonly ratio: Spread
  }[]
  readonly consume: readonly {
    readonly bytes: number
    readonly mb: Spread
    readonly ratio: Spread
  }[]
  readonly p50: Spread
  readonly p99: Spread
}

export interface PeersResult {
  readonly rows: readonly PeerRow[]
  readonly notRun: readonly {
    readonly kind: PeerKind
    readonly durability: Durability
    readonly reason: string
  }[]
}

export const inFlightBytes = 256 << 10
export const latencyBytes = 1024

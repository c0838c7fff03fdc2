// What a VirtualLog tells whoever observes it: one union, for metrics, logs and the audit of reconfigurations.

import type { Segment } from '../chain.ts'
import type { Lsn } from '../contract.ts'

export type VirtualLogEvent =
  | {
      readonly type: 'reconfigured'
      readonly reason: string
      readonly from: Segment
      readonly to: Segment
      /** From the seal call to the drained tail, ms. */
      readonly sealMs: number
      readonly totalMs: number
      readonly outcome: 'installed' | 'lost-race'
    }
  /** A write to the metastore. `failed`: nobody knows. */
  | { readonly type: 'cas'; readonly outcome: 'installed' | 'mismatch' | 'failed' }
  /** `[from, to)` cannot be read any more. */
  | { readonly type: 'lost'; readonly segment: Segment; readonly from: Lsn; readonly to: Lsn }
  | {
      readonly type: 'modified'
      readonly from: Segment
      readonly to: Segment
      readonly entries: number
      readonly bytes: number
      readonly totalMs: number
    }
  | { readonly type: 'truncated'; readonly segments: readonly Segment[] }
  /** A seal was met and its reconfiguration cannot be found or finished yet; it is tried again. */
  | { readonly type: 'stuck'; readonly segment: Segment; readonly error: Error }

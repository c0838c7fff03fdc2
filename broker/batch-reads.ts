// Reads batches from where the index says they lie: scattered slices of the log, each checked against the batch's own CRC. Says what is missing and
// leaves it to the caller to find out why.

import type { Lsn } from '../loglets/contract.ts'
import type { VirtualLog } from '../loglets/virtual-log/virtual-log.ts'
import { checkBatch } from '../wire/batch.ts'
import { readMoved } from './engine/moved-log.ts'
import type { IndexEntry } from './state/topics.ts'

/** Why a batch cannot be read. */
export interface Missing {
  /** The log begins behind it: it may have been put elsewhere. */
  readonly trimmed: boolean
  readonly detail: string
}

export function isMissing(found: Uint8Array | Missing | undefined): found is Missing {
  return found !== undefined && 'detail' in found
}

/** The batches in the order of `entries`, or what is wrong with them. @throws what the log throws while it does not answer */
export async function readBatches(
  log: VirtualLog,
  entries: readonly IndexEntry[],
): Promise<readonly (Uint8Array | Missing)[]> {
  const slices = entries.map(e => ({ lsn: e.lsn as Lsn, start: e.start, length: e.length }))
  const results = await readMoved(log, () => log.readSlices(slices))
  return entries.map((entry, i) => {
    const slice = results[i]
    if (!(slice instanceof Uint8Array)) {
      const gap = slice?.gap
      return { trimmed: gap === 'trimmed', detail: `bytes are ${gap ?? 'missing'}` }
    }
    try {
      checkBatch(slice, { bytesMax: Number.MAX_SAFE_INTEGER })
      return slice
    } catch (error) {
      return {
        trimmed: false,
        detail: `batch at byte ${entry.start}: ${(error as Error).message}`,
      }
    }
  })
}

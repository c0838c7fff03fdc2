// Reads of a log whose chain may have moved meanwhile: what does not answer may have left it, trimmed away or copied elsewhere by another broker.

import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { isUnavailable } from './healer.ts'

/** Runs `read`, and once more if nobody answered and the chain has changed since. @throws what the last try threw */
export async function readMoved<T>(log: VirtualLog, read: () => Promise<T>): Promise<T> {
  const { version } = log.chain
  try {
    return await read()
  } catch (error) {
    if (!isUnavailable(error)) throw error
    await log.refresh().catch(() => {})
    if (log.chain.version === version) throw error
    return read()
  }
}

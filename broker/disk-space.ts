// How much room the disk below a data directory has, for `health` and the metrics.

import { statfsSync } from 'node:fs'
import { degraded, type Finding } from './health.ts'

export interface DiskSpace {
  readonly free: number
  readonly total: number
}

/** Below this `health` says that the disk is nearly full: one more file of the log (64 MiB) has no room. */
export const diskFreeBytesLow = 64 << 20

/** Bytes that this user may still write, and all there are; undefined where the system does not tell. */
export function diskSpace(path: string): DiskSpace | undefined {
  try {
    const { bavail, blocks, bsize } = statfsSync(path)
    return { free: bavail * bsize, total: blocks * bsize }
  } catch {
    return undefined
  }
}

/** What there is to say about the room below `path`. */
export function diskFindings(path: string, space = diskSpace(path)): readonly Finding[] {
  if (space === undefined || space.free >= diskFreeBytesLow) return []
  return [
    degraded(
      `the disk below ${path} is nearly full: ${space.free} bytes are free, less than ${diskFreeBytesLow} (diskFreeBytesLow): free space below the data directory`,
    ),
  ]
}

// What a crash leaves on the disk, drawn from the seed: from "only the process died" to torn writes in any order.

import type { SimDisk } from './sim-disk.ts'
import type { Rng } from './world.ts'

/** Crashes the disk in one of four ways and names it. */
export function crashDisk(disk: SimDisk, rng: Rng): string {
  const mode = rng.pick(['process only', 'nothing kept', 'some kept', 'torn'] as const)
  // The page cache survives: what was never synced is readable now and may still be lost by a later power cut.
  if (mode === 'process only') return mode
  disk.crash(op => {
    if (mode === 'nothing kept') return 'none'
    if (mode === 'some kept') return rng.chance(0.5) ? 'all' : 'none'
    return op.kind === 'write' && rng.chance(0.5)
      ? Array.from({ length: Math.ceil(op.length / 512) }, () => rng.chance(0.7))
      : 'all'
  })
  return mode
}

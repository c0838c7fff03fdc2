// The state that a broker starts from (DESIGN 5.2): its own store; where that ends before the log begins, a checkpoint, of another node if need be.

import { LogloomError } from '../../wire/errors.ts'
import type { BrokerOptions } from '../broker-options.ts'
import { checkpointsIn, restoreCheckpoint } from '../state/checkpoint.ts'
import { allKeys, metaKey } from '../state/keys.ts'
import { StateMachine } from '../state/state-machine.ts'

/** A store without a state is filled from the newest checkpoint, so that history need not be replayed. */
export async function restoreEmptyStore(options: BrokerOptions): Promise<void> {
  const { store, disk, checkpointsDir, logger } = options
  if (store.get(metaKey) !== undefined) return
  const applied = await restoreCheckpoint(disk, checkpointsDir, store)
  if (applied !== undefined) logger?.info({ applied }, 'state rebuilt from a checkpoint')
  // A restore of a checkpoint that is gone by now may have come to no end.
  else if (store.range({ ...allKeys, limit: 1 }).length > 0) await store.clear()
}

/** For a log that begins at `start`. @throws STATE_BEHIND when no checkpoint reaches so far */
export async function loadState(options: BrokerOptions, start: number): Promise<StateMachine> {
  const { store, disk, checkpointsDir, checkpoints, logger } = options
  const machine = new StateMachine(store)
  if (machine.applied >= start) return machine
  const own = (await checkpointsIn(disk, checkpointsDir)).at(-1) ?? -1
  if (own < start) await checkpoints?.fetch(start)
  const applied = (await restoreCheckpoint(disk, checkpointsDir, store)) ?? 0
  if (applied < start)
    throw new LogloomError(
      'STATE_BEHIND',
      `the log begins at position ${start}, the newest checkpoint here and on the nodes that are up ends at ${applied}: start more nodes`,
      { applied, start },
    )
  logger?.info({ applied, start }, 'state taken from a checkpoint')
  return new StateMachine(store)
}

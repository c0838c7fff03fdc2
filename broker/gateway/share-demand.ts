// How many records of each share group are being asked for: a record that comes need not have every member that waits ask for it, which would be an
// entry of the log each.

import type { Broker } from '../broker.ts'
import { GroupWatch } from '../group-watch.ts'

export class ShareDemand {
  private readonly byGroup = new Map<string, number>()
  private readonly ended = new GroupWatch()

  /** Records that requests under way may take. */
  wanted(group: string): number {
    return this.byGroup.get(group) ?? 0
  }

  /** A request for so many records is under way until the function that is returned is called. */
  begin(group: string, records: number): () => void {
    this.byGroup.set(group, this.wanted(group) + records)
    return () => {
      const left = this.wanted(group) - records
      if (left === 0) this.byGroup.delete(group)
      else this.byGroup.set(group, left)
      this.ended.wake(new Set([group]))
    }
  }

  /** Calls `listener` whenever a request has ended. Returns the way to stop. */
  onEnd(group: string, listener: () => void): () => void {
    return this.ended.on(group, listener)
  }
}

const demands = new WeakMap<Broker, ShareDemand>()

export function demandOf(broker: Broker): ShareDemand {
  const known = demands.get(broker)
  if (known !== undefined) return known
  const demand = new ShareDemand()
  demands.set(broker, demand)
  return demand
}

// How many records of each share group are being asked for: a record that comes need not have every member that waits ask for it, which would be an
// entry of the log each.

import type { Broker } from '../broker.ts'

interface Demand {
  wanted: number
  readonly listeners: Set<() => void>
}

export class ShareDemand {
  private readonly groups = new Map<string, Demand>()

  /** Records that requests under way may take. */
  wanted(group: string): number {
    return this.groups.get(group)?.wanted ?? 0
  }

  /** A request for so many records is under way until the function that is returned is called. */
  begin(group: string, records: number): () => void {
    const demand = this.demand(group)
    demand.wanted += records
    return () => {
      demand.wanted -= records
      for (const listener of demand.listeners) listener()
      this.drop(group, demand)
    }
  }

  /** Calls `listener` whenever a request has ended. Returns the way to stop. */
  onEnd(group: string, listener: () => void): () => void {
    const demand = this.demand(group)
    demand.listeners.add(listener)
    return () => {
      demand.listeners.delete(listener)
      this.drop(group, demand)
    }
  }

  private demand(group: string): Demand {
    const known = this.groups.get(group)
    if (known !== undefined) return known
    const demand: Demand = { wanted: 0, listeners: new Set() }
    this.groups.set(group, demand)
    return demand
  }

  private drop(group: string, demand: Demand): void {
    if (demand.wanted === 0 && demand.listeners.size === 0) this.groups.delete(group)
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

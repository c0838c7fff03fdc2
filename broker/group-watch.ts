// Who wants to know when a consumer group changes: the connections of its members.

type Listener = () => void

export class GroupWatch {
  private readonly listeners = new Map<string, Set<Listener>>()

  /** Returns the way to stop. */
  on(group: string, listener: Listener): () => void {
    const set = this.listeners.get(group) ?? new Set<Listener>()
    this.listeners.set(group, set)
    set.add(listener)
    return () => {
      set.delete(listener)
      if (set.size === 0 && this.listeners.get(group) === set) this.listeners.delete(group)
    }
  }

  /** Calls the listeners of the groups named, and forgets the names. */
  wake(touched: Set<string>): void {
    if (touched.size === 0) return
    const names = [...touched]
    touched.clear()
    for (const name of names) for (const listener of this.listeners.get(name) ?? []) listener()
  }
}

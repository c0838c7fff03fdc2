// Makes `memory` loglets. Stores live as long as the provider: one provider per process, so a restart finds none and opens are `lost`.

import {
  type Loglet,
  LogletExistsError,
  LogletLostError,
  type LogletParams,
  type LogletProvider,
  LogletSpecError,
} from '../contract.ts'
import { type Budget, MemoryLoglet, MemoryStore } from './memory-loglet.ts'

export interface MemoryLogletOptions {
  /** Bytes that all memory loglets of this provider hold together; appends beyond are refused with `no-space`. Default 256 MiB. */
  readonly bytesMax?: number
}

export class MemoryLogletProvider implements LogletProvider {
  readonly kind = 'memory'
  readonly scope = 'process'
  readonly volatile = true
  private readonly budget: Budget
  private readonly stores = new Map<string, MemoryStore>()

  constructor(options: MemoryLogletOptions = {}) {
    this.budget = { bytesMax: options.bytesMax ?? 256 << 20, used: 0 }
  }

  /** Bytes held now, overheads included. */
  get bytesUsed(): number {
    return this.budget.used
  }

  validate(params: LogletParams): void {
    const [key] = Object.keys(params.options)
    if (key !== undefined)
      throw new LogletSpecError(`memory has no option ${key}: write memory without options`)
  }

  async create(id: string, params: LogletParams): Promise<Loglet> {
    this.validate(params)
    if (this.stores.has(id))
      throw new LogletExistsError(`memory loglet ${id} exists already`, 'refused')
    const store = new MemoryStore(this.budget)
    this.stores.set(id, store)
    return new MemoryLoglet(store)
  }

  async open(id: string, params: LogletParams): Promise<Loglet> {
    this.validate(params)
    const store = this.stores.get(id)
    if (store === undefined)
      throw new LogletLostError(
        `memory loglet ${id} is gone: memory does not survive a restart of the process`,
        'refused',
      )
    return new MemoryLoglet(store)
  }

  async remove(id: string): Promise<void> {
    this.stores.get(id)?.drop()
    this.stores.delete(id)
  }
}

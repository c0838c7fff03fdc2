// Loglets that fail half-way, and loglets that two clients share: wrappers around real providers, driven by the seed.

import {
  type Entry,
  type Loglet,
  LogletError,
  type LogletParams,
  type LogletProvider,
  type Position,
} from '../../loglets/contract.ts'
import type { Rng } from './world.ts'

/** The outcome of this call is not known. */
export class FlakyError extends LogletError {
  readonly code = 'LOGLET_FLAKY'
}

export interface Chaos {
  /** Off while the world heals. */
  enabled: boolean
  readonly createFails: number
  readonly sealFails: number
  /** The entry is stored, its ack is lost. */
  readonly ackLost: number
}

/**
 * One provider for several clients of one node: all of them get the same loglet object for an id, as clients of one log server would,
 * and the object is closed with its last user.
 */
export class SharedFlakyProvider implements LogletProvider {
  readonly kind: string
  readonly scope: LogletProvider['scope']
  readonly volatile: boolean
  private readonly inner: LogletProvider
  private readonly chaos: Chaos
  private readonly rng: Rng
  private readonly open_ = new Map<string, { loglet: Promise<Loglet>; users: number }>()

  constructor(inner: LogletProvider, chaos: Chaos, rng: Rng) {
    this.inner = inner
    this.chaos = chaos
    this.rng = rng
    this.kind = inner.kind
    this.scope = inner.scope
    this.volatile = inner.volatile
  }

  validate(params: LogletParams): void {
    this.inner.validate(params)
  }

  async create(id: string, params: LogletParams): Promise<Loglet> {
    if (this.happens(this.chaos.createFails))
      throw new FlakyError(`creating ${id} failed`, 'refused')
    const loglet = this.inner.create(id, params)
    await loglet
    this.open_.set(id, { loglet, users: 0 })
    return this.share(id)
  }

  async open(id: string, params: LogletParams): Promise<Loglet> {
    if (!this.open_.has(id)) {
      const loglet = this.inner.open(id, params)
      this.open_.set(id, { loglet, users: 0 })
      loglet.catch(() => this.open_.delete(id))
    }
    return this.share(id)
  }

  async remove(id: string, params: LogletParams): Promise<void> {
    await this.inner.remove(id, params)
  }

  private happens(p: number): boolean {
    return this.chaos.enabled && this.rng.chance(p)
  }

  private async share(id: string): Promise<Loglet> {
    const entry = this.open_.get(id)
    if (entry === undefined) throw new FlakyError(`${id} is gone`, 'refused')
    entry.users++
    let loglet: Loglet
    try {
      loglet = await entry.loglet
    } catch (error) {
      entry.users--
      throw error
    }
    let closed = false
    return {
      kind: loglet.kind,
      append: async (bytes: Entry): Promise<Position> => {
        const at = await loglet.append(bytes)
        if (this.happens(this.chaos.ackLost)) throw new FlakyError('the ack was lost', 'unknown')
        return at
      },
      seal: async () => {
        if (this.happens(this.chaos.sealFails)) throw new FlakyError('the seal failed', 'unknown')
        await loglet.seal()
      },
      checkTail: signal => loglet.checkTail(signal),
      readNext: (from, to, maxBytes, signal) => loglet.readNext(from, to, maxBytes, signal),
      readSlices: (slices, signal) => loglet.readSlices(slices, signal),
      waitTail: (beyond, signal) => loglet.waitTail(beyond, signal),
      prefixTrim: before => loglet.prefixTrim(before),
      close: async () => {
        if (closed) return
        closed = true
        if (--entry.users > 0) return
        this.open_.delete(id)
        await loglet.close()
      },
    }
  }
}

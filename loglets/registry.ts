// Turns specs into loglets: finds the provider of each leaf and composes `striped` over them (DESIGN 4.4, 4.1 rules 7 and 8).
//
// Leaves of a striped loglet have the ids `<id>.<i>`, nested `<id>.<i>.<j>`. The chain names an id only after `create` resolved, that is
// after every leaf exists, so a crash in between leaves an orphan, never half a segment.

import {
  type Loglet,
  LogletExistsError,
  type LogletParams,
  type LogletProvider,
  LogletSpecError,
  type Scope,
} from './contract.ts'
import { isStriped, type LeafSpec, type LogletSpec, parseSpec } from './spec.ts'
import { StripedLoglet, type StripedPorts } from './striped/striped-loglet.ts'

const scopes: readonly Scope[] = ['process', 'node', 'cluster']

/** True when everyone whom `needed` reaches is also reached by `scope`. */
export function covers(scope: Scope, needed: Scope): boolean {
  return scopes.indexOf(scope) >= scopes.indexOf(needed)
}

export class LogletRegistry {
  private readonly providers: ReadonlyMap<string, LogletProvider>

  constructor(providers: readonly LogletProvider[]) {
    this.providers = new Map(providers.map(p => [p.kind, p]))
    if (this.providers.size !== providers.length)
      throw new LogletSpecError('two providers have the same kind')
  }

  /** The kinds that a spec may name, sorted. */
  get kinds(): readonly string[] {
    return [...this.providers.keys(), 'striped'].sort()
  }

  /** @throws {LogletSpecError} before anything is made or sealed */
  validate(specText: string): void {
    this.validated(specText)
  }

  /** The narrowest scope of all leaves. */
  scope(specText: string): Scope {
    const found = this.leafProviders(parseSpec(specText)).map(p => p.scope)
    return scopes.find(s => found.includes(s)) ?? 'process'
  }

  /** True when a restart of the process loses the content, or part of it. */
  volatile(specText: string): boolean {
    return this.leafProviders(parseSpec(specText)).some(p => p.volatile)
  }

  /** Makes every leaf, then opens the whole. What was made is removed when a leaf fails. */
  create(id: string, specText: string, ports?: StripedPorts): Promise<Loglet> {
    return this.createTree(id, this.validated(specText), ports)
  }

  /** @throws {LogletLostError} when a leaf is absent */
  open(id: string, specText: string, ports?: StripedPorts): Promise<Loglet> {
    return this.openTree(id, this.validated(specText), ports)
  }

  /** Deletes every leaf. Idempotent; the loglet must be closed. */
  async remove(id: string, specText: string): Promise<void> {
    await this.removeTree(id, parseSpec(specText))
  }

  private validated(specText: string): LogletSpec {
    const spec = parseSpec(specText)
    this.validateTree(spec)
    return spec
  }

  private validateTree(spec: LogletSpec): void {
    if (!isStriped(spec)) {
      this.providerOf(spec).validate(paramsOf(spec))
      return
    }
    const [key] = Object.keys(spec.options)
    if (key !== undefined)
      throw new LogletSpecError(`striped has no option ${key}: write striped:${spec.stripes}:SPEC`)
    this.validateTree(spec.inner)
  }

  private providerOf(leaf: LeafSpec): LogletProvider {
    const provider = this.providers.get(leaf.kind)
    if (provider !== undefined && leaf.address === undefined) return provider
    const name = leaf.address === undefined ? leaf.kind : `${leaf.kind}://`
    throw new LogletSpecError(
      `there is no loglet "${name}" in this version: use ${this.kinds.join(', ')}, for example striped:2:file`,
    )
  }

  private leafProviders(spec: LogletSpec): readonly LogletProvider[] {
    return isStriped(spec) ? this.leafProviders(spec.inner) : [this.providerOf(spec)]
  }

  private async createTree(id: string, spec: LogletSpec, ports?: StripedPorts): Promise<Loglet> {
    if (!isStriped(spec)) return this.providerOf(spec).create(id, paramsOf(spec))
    const made = await Promise.allSettled(
      stripeIds(id, spec.stripes).map(stripe => this.createTree(stripe, spec.inner, ports)),
    )
    const loglets = fulfilled(made)
    if (loglets.length === made.length) return this.stripe(loglets, ports)
    await Promise.allSettled(loglets.map(loglet => loglet.close()))
    const failure = firstRejection(made)
    // An id that exists is somebody else's: its other leaves are not ours to delete.
    if (!(failure instanceof LogletExistsError))
      await Promise.allSettled([this.removeTree(id, spec)])
    throw failure
  }

  private async openTree(id: string, spec: LogletSpec, ports?: StripedPorts): Promise<Loglet> {
    if (!isStriped(spec)) return this.providerOf(spec).open(id, paramsOf(spec))
    const opened = await Promise.allSettled(
      stripeIds(id, spec.stripes).map(stripe => this.openTree(stripe, spec.inner, ports)),
    )
    const loglets = fulfilled(opened)
    if (loglets.length === opened.length) return this.stripe(loglets, ports)
    await Promise.allSettled(loglets.map(loglet => loglet.close()))
    throw firstRejection(opened)
  }

  private async stripe(loglets: readonly Loglet[], ports?: StripedPorts): Promise<Loglet> {
    try {
      return await StripedLoglet.over(loglets, ports)
    } catch (error) {
      await Promise.allSettled(loglets.map(loglet => loglet.close()))
      throw error
    }
  }

  private async removeTree(id: string, spec: LogletSpec): Promise<void> {
    if (!isStriped(spec)) {
      await this.providerOf(spec).remove(id)
      return
    }
    const removed = await Promise.allSettled(
      stripeIds(id, spec.stripes).map(stripe => this.removeTree(stripe, spec.inner)),
    )
    if (removed.some(r => r.status === 'rejected')) throw firstRejection(removed)
  }
}

function paramsOf({ kind, options }: LeafSpec): LogletParams {
  return { kind, options }
}

function stripeIds(id: string, stripes: number): readonly string[] {
  return Array.from({ length: stripes }, (_, i) => `${id}.${i}`)
}

function fulfilled<T>(results: readonly PromiseSettledResult<T>[]): readonly T[] {
  return results.flatMap(r => (r.status === 'fulfilled' ? [r.value] : []))
}

function firstRejection(results: readonly PromiseSettledResult<unknown>[]): unknown {
  return results.find(r => r.status === 'rejected')?.reason
}

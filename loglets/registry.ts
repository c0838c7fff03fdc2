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
import {
  isStriped,
  leavesOf,
  type LeafSpec,
  type LogletSpec,
  parseSpec,
  type StripedSpec,
} from './spec.ts'
import { StripedLoglet, type StripedPorts } from './striped/striped-loglet.ts'

const scopes: readonly Scope[] = ['process', 'node', 'cluster']

/** True when everyone whom `needed` reaches is also reached by `scope`. */
export function covers(scope: Scope, needed: Scope): boolean {
  return scopes.indexOf(scope) >= scopes.indexOf(needed)
}

/** One text per leaf, in the order of the leaves. */
export type Placement = readonly string[]

export class LogletRegistry {
  private readonly providers: ReadonlyMap<string, LogletProvider>
  private readonly elsewhere: Readonly<Record<string, string>>

  /** `elsewhere`: kinds that exist, but not for this log, with the reason. */
  constructor(
    providers: readonly LogletProvider[],
    elsewhere: Readonly<Record<string, string>> = {},
  ) {
    this.elsewhere = elsewhere
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

  /** Where a new loglet's leaves are to live, leaf by leaf; undefined when no leaf has a choice. @throws {LogletError} when there is no place */
  place(specText: string): Placement | undefined {
    const spec = this.validated(specText)
    const leaf = leafOf(spec)
    const provider = this.providerOf(leaf)
    if (provider.place === undefined) return undefined
    const leaves = leavesOf(spec)
    const servers = serversOf(spec)
    const params = paramsOf(leaf, undefined)
    return Array.from(
      { length: leaves },
      (_, i) => provider.place?.(params, { leaf: i, leaves, servers }) ?? '',
    )
  }

  /** Makes every leaf, then opens the whole. What was made is removed when a leaf fails. */
  create(
    id: string,
    specText: string,
    ports?: StripedPorts,
    placement?: Placement,
  ): Promise<Loglet> {
    return this.createTree(id, this.validated(specText), ports, placement)
  }

  /** @throws {LogletLostError} when a leaf is absent */
  open(id: string, specText: string, ports?: StripedPorts, placement?: Placement): Promise<Loglet> {
    return this.openTree(id, this.validated(specText), ports, placement)
  }

  /** Deletes every leaf. Idempotent; the loglet must be closed. */
  async remove(id: string, specText: string, placement?: Placement): Promise<void> {
    await this.removeTree(id, parseSpec(specText), placement)
  }

  private validated(specText: string): LogletSpec {
    const spec = parseSpec(specText)
    this.validateTree(spec)
    return spec
  }

  private validateTree(spec: LogletSpec): void {
    if (!isStriped(spec)) {
      this.providerOf(spec).validate(paramsOf(spec, undefined))
      return
    }
    const placed = this.providerOf(leafOf(spec)).place !== undefined
    for (const [key, value] of Object.entries(spec.options)) {
      if (key !== 'servers' || !placed)
        throw new LogletSpecError(
          `striped has no option ${key} here: write striped:${spec.stripes}:SPEC`,
        )
      if (value !== 'shared' && value !== 'disjoint')
        throw new LogletSpecError(`servers=${value}: use servers=shared or servers=disjoint`)
    }
    this.validateTree(spec.inner)
  }

  private providerOf(leaf: LeafSpec): LogletProvider {
    const provider = this.providers.get(leaf.kind)
    if (provider !== undefined && leaf.address === undefined) return provider
    const name = leaf.address === undefined ? leaf.kind : `${leaf.kind}://`
    const [first = 'SPEC'] = [...this.providers.keys()]
    const remedy = `use ${this.kinds.join(', ')}, for example striped:2:${first}`
    const why = leaf.address === undefined ? this.elsewhere[leaf.kind] : undefined
    throw new LogletSpecError(
      why === undefined
        ? `there is no loglet "${name}" in this version: ${remedy}`
        : `"${name}" is not for this log: ${why}; ${remedy}`,
    )
  }

  private leafProviders(spec: LogletSpec): readonly LogletProvider[] {
    return isStriped(spec) ? this.leafProviders(spec.inner) : [this.providerOf(spec)]
  }

  private async createTree(
    id: string,
    spec: LogletSpec,
    ports?: StripedPorts,
    placement?: Placement,
  ): Promise<Loglet> {
    if (!isStriped(spec)) return this.providerOf(spec).create(id, paramsOf(spec, placement))
    const made = await Promise.allSettled(
      stripeIds(id, spec.stripes).map((stripe, i) =>
        this.createTree(stripe, spec.inner, ports, partOf(placement, spec, i)),
      ),
    )
    const loglets = fulfilled(made)
    if (loglets.length === made.length) return this.stripe(loglets, ports)
    await Promise.allSettled(loglets.map(loglet => loglet.close()))
    const failure = firstRejection(made)
    // An id that exists is somebody else's: its other leaves are not ours to delete.
    if (!(failure instanceof LogletExistsError))
      await Promise.allSettled([this.removeTree(id, spec, placement)])
    throw failure
  }

  private async openTree(
    id: string,
    spec: LogletSpec,
    ports?: StripedPorts,
    placement?: Placement,
  ): Promise<Loglet> {
    if (!isStriped(spec)) return this.providerOf(spec).open(id, paramsOf(spec, placement))
    const opened = await Promise.allSettled(
      stripeIds(id, spec.stripes).map((stripe, i) =>
        this.openTree(stripe, spec.inner, ports, partOf(placement, spec, i)),
      ),
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

  private async removeTree(id: string, spec: LogletSpec, placement?: Placement): Promise<void> {
    if (!isStriped(spec)) {
      await this.providerOf(spec).remove(id, paramsOf(spec, placement))
      return
    }
    const removed = await Promise.allSettled(
      stripeIds(id, spec.stripes).map((stripe, i) =>
        this.removeTree(stripe, spec.inner, partOf(placement, spec, i)),
      ),
    )
    if (removed.some(r => r.status === 'rejected')) throw firstRejection(removed)
  }
}

function paramsOf({ kind, options }: LeafSpec, placement: Placement | undefined): LogletParams {
  const [first] = placement ?? []
  return first === undefined ? { kind, options } : { kind, options, placement: first }
}

/** What the leaves below stripe `i` got. */
function partOf(
  placement: Placement | undefined,
  { inner }: StripedSpec,
  i: number,
): Placement | undefined {
  const leaves = leavesOf(inner)
  return placement?.slice(i * leaves, (i + 1) * leaves)
}

/** All leaves of a spec are alike. */
function leafOf(spec: LogletSpec): LeafSpec {
  return isStriped(spec) ? leafOf(spec.inner) : spec
}

/** The outermost word counts; stripes share their servers unless told otherwise. */
function serversOf(spec: LogletSpec): 'shared' | 'disjoint' {
  if (!isStriped(spec)) return 'shared'
  const { servers } = spec.options
  return servers === 'shared' || servers === 'disjoint' ? servers : serversOf(spec.inner)
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

// ACL bindings, arranged so that a decision costs a few look-ups however many there are: masks of operations by principal, resource and name.
//
// Deny wins over allow, whichever of them is about everybody, about one name or about a prefix. What allows reading, writing, deleting or altering
// allows describing; what denies these denies nothing else (as in Kafka).

import { type AclBinding, everyone } from './acl.ts'
import {
  type AclOperation,
  aclOperations,
  implies,
  type Permission,
  type ResourceType,
} from './grant.ts'

export type Verdict = 'allow' | 'deny' | 'none'

interface Masks {
  allow: number
  deny: number
}

/** Of one principal and resource. */
interface Rules {
  readonly literal: Map<string, Masks>
  readonly prefixed: Map<string, Masks>
  /** Lengths of the prefixes. */
  readonly lengths: Set<number>
}

const bits: Readonly<Record<AclOperation, number>> = Object.fromEntries(
  aclOperations.map((operation, i) => [operation, 1 << i]),
) as Record<AclOperation, number>

const implied: Readonly<Record<AclOperation, number>> = Object.fromEntries(
  aclOperations.map(granted => [
    granted,
    aclOperations.reduce((mask, op) => mask | (implies(granted, op) ? bits[op] : 0), 0),
  ]),
) as Record<AclOperation, number>

export class AclIndex {
  private readonly rules = new Map<string, Rules>()

  constructor(bindings: Iterable<AclBinding>) {
    for (const { principal, permission, resource, pattern, name, operation } of bindings) {
      const rules = this.of(principal, resource)
      const masks = entry(pattern === 'literal' ? rules.literal : rules.prefixed, name)
      if (permission === 'deny') masks.deny |= bits[operation]
      else masks.allow |= implied[operation]
      if (pattern === 'prefixed') rules.lengths.add(name.length)
    }
  }

  /** What the bindings say of it; `none` when they say nothing. */
  decide(principal: string, { resource, name, operation }: Permission): Verdict {
    const bit = bits[operation]
    let allow = 0
    let deny = 0
    for (const whose of [principal, everyone]) {
      const rules = this.rules.get(keyOf(whose, resource))
      if (rules === undefined) continue
      for (const masks of covering(rules, name)) {
        allow |= masks.allow
        deny |= masks.deny
      }
    }
    if ((deny & bit) !== 0) return 'deny'
    return (allow & bit) === 0 ? 'none' : 'allow'
  }

  /** Whether the principal may do it to whatever has a name that begins with `prefix`, be it there or not: nothing denies it of any. */
  allowsAll(
    principal: string,
    resource: ResourceType,
    prefix: string,
    operation: AclOperation,
  ): boolean {
    const bit = bits[operation]
    let allowed = false
    for (const whose of [principal, everyone]) {
      const rules = this.rules.get(keyOf(whose, resource))
      if (rules === undefined) continue
      for (const [name, { allow, deny }] of rules.literal) {
        if ((deny & bit) !== 0 && (name === '*' || name.startsWith(prefix))) return false
        if ((allow & bit) !== 0 && name === '*') allowed = true
      }
      for (const [start, { allow, deny }] of rules.prefixed) {
        const isWide = prefix.startsWith(start)
        if ((deny & bit) !== 0 && (isWide || start.startsWith(prefix))) return false
        if ((allow & bit) !== 0 && isWide) allowed = true
      }
    }
    return allowed
  }

  private of(principal: string, resource: ResourceType): Rules {
    const key = keyOf(principal, resource)
    let rules = this.rules.get(key)
    if (rules === undefined) {
      rules = { literal: new Map(), prefixed: new Map(), lengths: new Set() }
      this.rules.set(key, rules)
    }
    return rules
  }
}

function* covering({ literal, prefixed, lengths }: Rules, name: string): Iterable<Masks> {
  const own = literal.get(name)
  if (own !== undefined) yield own
  const all = literal.get('*')
  if (all !== undefined) yield all
  for (const length of lengths) {
    const masks = length <= name.length ? prefixed.get(name.slice(0, length)) : undefined
    if (masks !== undefined) yield masks
  }
}

function keyOf(principal: string, resource: ResourceType): string {
  return `${resource} ${principal}`
}

function entry(map: Map<string, Masks>, name: string): Masks {
  let masks = map.get(name)
  if (masks === undefined) {
    masks = { allow: 0, deny: 0 }
    map.set(name, masks)
  }
  return masks
}

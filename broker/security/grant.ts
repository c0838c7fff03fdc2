// What can be allowed: an operation on a resource, Kafka's model of authorisation (KIP-11, KIP-290) without what Logloom has no use for.

/** What a rule is about; the cluster has one name, {@link clusterName}. */
export const resourceTypes = ['topic', 'group', 'cluster'] as const
export type ResourceType = (typeof resourceTypes)[number]

export const aclOperations = ['read', 'write', 'create', 'delete', 'alter', 'describe'] as const
export type AclOperation = (typeof aclOperations)[number]

/** `literal`: this name; `prefixed`: all names that begin with it. The literal name `*` is every name. */
export const patternTypes = ['literal', 'prefixed'] as const
export type PatternType = (typeof patternTypes)[number]

export const clusterName = 'logloom'

/** One thing that somebody wants to do. */
export interface Permission {
  readonly resource: ResourceType
  readonly name: string
  readonly operation: AclOperation
}

/** Things that somebody may do. */
export interface Grant {
  readonly resource: ResourceType
  readonly pattern: PatternType
  readonly name: string
  readonly operations: readonly AclOperation[]
}

/** True when the pattern covers the name. */
export function covers(pattern: PatternType, name: string, actual: string): boolean {
  if (pattern === 'prefixed') return actual.startsWith(name)
  return name === '*' || name === actual
}

/** Who may read, write, delete or alter something may also see that it is there (as in Kafka). */
export function implies(granted: AclOperation, wanted: AclOperation): boolean {
  if (granted === wanted) return true
  return wanted === 'describe' && granted !== 'create'
}

/** True when one of the grants allows it. */
export function allows(
  grants: readonly Grant[],
  { resource, name, operation }: Permission,
): boolean {
  return grants.some(
    grant =>
      grant.resource === resource &&
      covers(grant.pattern, grant.name, name) &&
      grant.operations.some(granted => implies(granted, operation)),
  )
}

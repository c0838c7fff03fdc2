// ACL bindings, Kafka's model (KIP-11, KIP-290): who may, or may not, do one operation on the resources that a pattern names.

import { type AclOperation, covers, type PatternType, type ResourceType } from './grant.ts'

export const aclPermissions = ['allow', 'deny'] as const
export type AclPermission = (typeof aclPermissions)[number]

/** Every principal, in bindings and quotas. */
export const everyone = 'User:*'

export interface AclBinding {
  /** `User:alice`, or {@link everyone}. */
  readonly principal: string
  /** `deny` wins over every `allow`. */
  readonly permission: AclPermission
  readonly resource: ResourceType
  readonly pattern: PatternType
  /** The literal name `*` is every name. */
  readonly name: string
  readonly operation: AclOperation
}

/** Which bindings are meant; what is absent is any. */
export interface AclFilter {
  readonly principal?: string
  readonly permission?: AclPermission
  readonly resource?: ResourceType
  /** `match`: those that cover `name`, whatever their pattern. */
  readonly pattern?: PatternType | 'match'
  readonly name?: string
  readonly operation?: AclOperation
}

/** One text per binding: bindings with the same are the same. */
export function bindingKey(binding: AclBinding): string {
  const { principal, permission, resource, pattern, name, operation } = binding
  // The principal comes last, as it alone may hold the separator.
  return `${permission} ${resource} ${pattern} ${name} ${operation} ${principal}`
}

export function matches(filter: AclFilter, binding: AclBinding): boolean {
  const { principal, permission, resource, pattern, name, operation } = filter
  return (
    (principal === undefined || principal === binding.principal) &&
    (permission === undefined || permission === binding.permission) &&
    (resource === undefined || resource === binding.resource) &&
    (operation === undefined || operation === binding.operation) &&
    (pattern === undefined || pattern === 'match' || pattern === binding.pattern) &&
    (name === undefined ||
      (pattern === 'match' ? covers(binding.pattern, binding.name, name) : name === binding.name))
  )
}

// What a binding must look like to have an effect. Operations that nothing asks for are refused, not stored.

import { LogloomError } from '../../wire/errors.ts'
import { isTopicName } from '../../wire/topic-name.ts'
import { type AclBinding, type AclFilter, aclPermissions } from './acl.ts'
import {
  type AclOperation,
  aclOperations,
  clusterName,
  patternTypes,
  type ResourceType,
  resourceTypes,
} from './grant.ts'
import { checkPrincipal } from './principal-name.ts'

/** What can be done with each. */
export const operationsOn: Readonly<Record<ResourceType, readonly AclOperation[]>> = {
  topic: aclOperations,
  group: ['read', 'delete', 'alter', 'describe'],
  cluster: ['create', 'alter', 'describe'],
}

const nameLengthMax = 249
const filterFields = ['principal', 'permission', 'resource', 'pattern', 'name', 'operation']
const visible = /^[!-~]+$/

type Fields = Readonly<Record<string, unknown>>

/** @throws INVALID_REQUEST */
export function readBinding(fields: Fields): AclBinding {
  const resource = oneOf(fields, 'resource', resourceTypes)
  const pattern = oneOf(fields, 'pattern', patternTypes, 'literal')
  const operation = oneOf(fields, 'operation', aclOperations)
  const permission = oneOf(fields, 'permission', aclPermissions, 'allow')
  const principal = checkPrincipal(text(fields, 'principal'), true)
  const name = text(fields, 'name', resource === 'cluster' ? clusterName : undefined)
  checkName(resource, pattern, name)
  if (!operationsOn[resource].includes(operation))
    throw invalid(
      'operation',
      `${operation} means nothing on a ${resource}: use ${operationsOn[resource].join(', ')}`,
    )
  return { principal, permission, resource, pattern, name, operation }
}

/** @throws INVALID_REQUEST; also for a field that is not known: a typing error must not find more */
export function readFilter(fields: Fields): AclFilter {
  for (const key of Object.keys(fields))
    if (!filterFields.includes(key))
      throw invalid(key.slice(0, 60), `none of ${filterFields.join(', ')}`)
  const has = (key: string): boolean => fields[key] !== undefined && fields[key] !== null
  return {
    ...(has('principal') && { principal: checkPrincipal(text(fields, 'principal'), true) }),
    ...(has('permission') && { permission: oneOf(fields, 'permission', aclPermissions) }),
    ...(has('resource') && { resource: oneOf(fields, 'resource', resourceTypes) }),
    ...(has('pattern') && {
      pattern: oneOf(fields, 'pattern', [...patternTypes, 'match'] as const),
    }),
    ...(has('name') && { name: text(fields, 'name').slice(0, nameLengthMax + 1) }),
    ...(has('operation') && { operation: oneOf(fields, 'operation', aclOperations) }),
  }
}

function checkName(resource: ResourceType, pattern: string, name: string): void {
  if (resource === 'cluster') {
    if (pattern === 'literal' && (name === clusterName || name === '*')) return
    throw invalid('name', `the cluster has one name, ${clusterName}, and no prefixes`)
  }
  if (name === '*' && pattern === 'literal') return
  const isName =
    resource === 'topic' ? isTopicName(name) : name.length <= nameLengthMax && visible.test(name)
  // `.` is no topic, but begins names of some.
  if (isName || (pattern === 'prefixed' && /^\.\.?$/.test(name))) return
  throw invalid('name', `${JSON.stringify(name.slice(0, 100))} is no name of a ${resource}`)
}

function oneOf<T extends string>(
  fields: Fields,
  key: string,
  among: readonly T[],
  fallback?: T,
): T {
  const value = fields[key] ?? fallback
  const found = among.find(each => each === value)
  if (found !== undefined) return found
  const shown = typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : typeof value
  throw invalid(key, `${shown} is none of ${among.join(', ')}`)
}

function text(fields: Fields, key: string, fallback?: string): string {
  const value = fields[key] ?? fallback
  if (typeof value === 'string') return value
  throw invalid(key, `must be a string, got ${value === undefined ? 'nothing' : typeof value}`)
}

function invalid(field: string, why: string): LogloomError {
  return new LogloomError('INVALID_REQUEST', `ACL binding: field ${field}: ${why}`, { field })
}

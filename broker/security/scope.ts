// Scopes of tokens: lists of grants, from frames and from text, and whether one lies within another.
//
//   text   RESOURCE:NAME:OPERATION[,OPERATION…]     a NAME that ends in * is a beginning; * alone is every name
//          topic:orders:read   topic:chat-*:read,write   group:billing:read   cluster:logloom:describe

import { LogloomError } from '../../wire/errors.ts'
import { array, str } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import {
  type AclOperation,
  aclOperations,
  covers,
  type Grant,
  implies,
  patternTypes,
  resourceTypes,
} from './grant.ts'

/** Grants of one scope. */
export const scopeGrantsMax = 32
const nameCharactersMax = 249

/** The scope in a request. @throws INVALID_REQUEST, LIMIT_EXCEEDED */
export function readScope(frame: Frame): readonly Grant[] {
  const grants = array(frame, 'grants')
  if (grants.length === 0) throw invalid('it is empty: such a token could do nothing')
  checkCount(grants.length)
  return grants.map(value => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw invalid('each grant must be a map')
    const grant = { ...(value as Frame), op: 'mintToken' }
    return checked(
      oneOf(resourceTypes, str(grant, 'resource'), 'resource'),
      oneOf(patternTypes, str(grant, 'pattern'), 'pattern'),
      str(grant, 'name'),
      array(grant, 'operations').map(each => oneOf(aclOperations, each, 'operations')),
    )
  })
}

/** A grant as text; undefined when it is none. */
export function parseGrant(text: string): Grant | undefined {
  const [, resourceText = '', nameText = '', operationsText = ''] =
    /^([a-z]+):(.+):([a-z,]+)$/.exec(text) ?? []
  const resource = resourceTypes.find(each => each === resourceText)
  const operations = operationsText.split(',').map(each => aclOperations.find(op => op === each))
  if (resource === undefined || nameText.length > nameCharactersMax) return undefined
  if (operations.includes(undefined)) return undefined
  const isBeginning = nameText.length > 1 && nameText.endsWith('*')
  return {
    resource,
    pattern: isBeginning ? 'prefixed' : 'literal',
    name: isBeginning ? nameText.slice(0, -1) : nameText,
    operations: operations as AclOperation[],
  }
}

/** True when everything that `inner` allows is allowed by `outer` too. */
export function isWithin(inner: readonly Grant[], outer: readonly Grant[]): boolean {
  return inner.every(grant =>
    grant.operations.every(operation =>
      outer.some(
        wider =>
          wider.resource === grant.resource &&
          containsPattern(wider, grant) &&
          wider.operations.some(granted => implies(granted, operation)),
      ),
    ),
  )
}

function containsPattern(outer: Grant, inner: Grant): boolean {
  if (outer.pattern === 'literal' && outer.name === '*') return true
  if (inner.pattern === 'prefixed' || inner.name === '*')
    return outer.pattern === 'prefixed' && inner.name !== '*' && inner.name.startsWith(outer.name)
  return covers(outer.pattern, outer.name, inner.name)
}

function checked(
  resource: Grant['resource'],
  pattern: Grant['pattern'],
  name: string,
  operations: readonly AclOperation[],
): Grant {
  if (name === '' || name.length > nameCharactersMax)
    throw invalid(`a name has 1 to ${nameCharactersMax} characters`)
  if (operations.length === 0) throw invalid('a grant needs operations')
  return { resource, pattern, name, operations: [...new Set(operations)] }
}

function checkCount(count: number): void {
  if (count <= scopeGrantsMax) return
  throw new LogloomError(
    'LIMIT_EXCEEDED',
    `${count} grants, a scope has at most ${scopeGrantsMax} (scopeGrantsMax)`,
    { limit: scopeGrantsMax, actual: count },
  )
}

function oneOf<T extends string>(known: readonly T[], text: unknown, field: string): T {
  const found = known.find(each => each === text)
  if (found !== undefined) return found
  throw invalid(`${field} must be one of ${known.join(', ')}`)
}

function invalid(why: string): LogloomError {
  return new LogloomError('INVALID_REQUEST', `mintToken: field grants: ${why}`, { field: 'grants' })
}

// Who administered what: one line for each change that an operator made or tried, with its outcome. What was denied is told by the denial's line
// (broker/security/denial-log.ts). Fields are chosen one by one: no secret is in a request, and none gets into a line. What was answered without an
// error although there was nothing to do has an outcome of its own; what a refused request would have made is not named as if it were there.

import type { Frame } from '../../wire/frame.ts'
import type { LogloomError } from '../../wire/errors.ts'

/** What the line says besides the operation. */
type Subject = (frame: Frame) => Frame

const listedMax = 20
const textLengthMax = 300

const fields =
  (...keys: readonly string[]): Subject =>
  frame =>
    Object.fromEntries(
      keys.filter(key => frame[key] !== undefined).map(key => [key, plain(frame[key])]),
    )

const audited: ReadonlyMap<string, Subject> = new Map<string, Subject>([
  ['createTopic', fields('topic', 'partitions', 'config')],
  ['deleteTopic', fields('topic')],
  ['alterTopic', fields('topic', 'partitions', 'config')],
  ['deleteRecords', fields('topic', 'partition', 'before')],
  ['resetOffsets', fields('group', 'topics', 'to', 'dryRun')],
  ['deleteGroup', fields('group')],
  ['openSnapshot', fields('security')],
  ['restoreTopic', fields('restore', 'index')],
  ['restoreState', fields('restore', 'kind')],
  ['finishRestore', fields('restore', 'topics')],
  ['dropRestore', fields('restore')],
  ['switchLog', fields('spec', 'expectedIndex')],
  ['sealLog', fields()],
  ['trimLog', fields('lsn', 'force')],
  ['closeConnection', fields('connection')],
  ['addNode', fields('node', 'peerUrl')],
  ['removeNode', fields('node')],
  ['createToken', fields('tokenId', 'principal', 'description', 'expiresAt', 'ttlMs')],
  ['revokeToken', fields('tokenId')],
  ['createAcls', fields('bindings')],
  ['deleteAcls', fields('filter', 'dryRun')],
  ['setQuota', fields('principal', 'quota')],
])

const notFound = 'not-found'
/** Outcomes of what was answered without an error, where `ok` would say that something was done. */
const undone: ReadonlyMap<string, (reply: Frame) => string | undefined> = new Map([
  ['closeConnection', ({ closed }: Frame) => (closed === true ? undefined : notFound)],
])

/** Fields that name what the request makes, if it does. */
const makes: ReadonlyMap<string, string> = new Map([['createToken', 'tokenId']])
/** Whoever refuses with one of these has made nothing; so has whoever says that a retry may succeed. */
const madeNothing: ReadonlySet<string> = new Set([
  'INVALID_REQUEST',
  'NUMBER_OUT_OF_RANGE',
  'LIMIT_EXCEEDED',
])

export function isAudited(op: string): boolean {
  return audited.has(op)
}

/** The line of a request that was answered with `reply`, or refused with `error`. */
export function auditLine(
  op: string,
  frame: Frame,
  error: LogloomError | undefined,
  reply: Frame = {},
): Frame {
  const made = makes.get(op)
  const isNamed = made === undefined || error === undefined || mayExist(error)
  const subject = audited.get(op)?.(isNamed ? frame : { ...frame, [made]: undefined }) ?? {}
  const outcome = error?.code ?? undone.get(op)?.(reply) ?? 'ok'
  return { audit: true, op, subject: JSON.stringify(subject), outcome }
}

function mayExist({ code, retriable }: LogloomError): boolean {
  return !retriable && !madeNothing.has(code)
}

/** Bounded, whatever a client sent. */
function plain(value: unknown): unknown {
  if (typeof value === 'string') return value.slice(0, textLengthMax)
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Uint8Array) return `${value.length} bytes`
  if (Array.isArray(value)) {
    const more = value.length > listedMax ? [`and ${value.length - listedMax} more`] : []
    return [...value.slice(0, listedMax).map(plain), ...more]
  }
  const entries = Object.entries(value).slice(0, listedMax)
  return Object.fromEntries(
    entries.map(([key, each]) => [key.slice(0, textLengthMax), plain(each)]),
  )
}

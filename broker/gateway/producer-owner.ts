// Producer ids and transactional ids belong to whoever asked for them: with one, everything that came with it before is fenced, and decisions that were
// made for its owner are repeated (Kafka has a resource of its own for this).
//
// Ids are given out one behind the other, so nobody has to guess. To others an id is one that was never given out. What pages do with scoped tokens is apart
// from what their principal does itself. An owner never changes, so what was seen here holds.

import { LogloomError } from '../../wire/errors.ts'
import type { Broker } from '../broker.ts'
import type { Principal } from '../security/principal.ts'
import type { Producer } from '../state/producers.ts'
import type { Connection } from './connection.ts'

/** As it stands in the state: no principal is named `Page:`. Undefined while authentication is off: nobody owns anything. */
export function ownerName({ mechanism, name }: Principal): string | undefined {
  if (mechanism === 'none') return undefined
  return mechanism === 'scoped-token' ? name.replace(/^User:/, 'Page:') : name
}

/** The name in the state. Ids have no spaces, so no two owners share one; nor does anybody with the time when authentication was off. */
export function ownTransactionalId(principal: Principal, id: string): string {
  const owner = ownerName(principal)
  return owner === undefined ? id : `${owner} ${id}`
}

/**
 * Done, or a promise of it: another broker may have given the id out just now.
 * @throws UNKNOWN_PRODUCER for an id that is somebody else's, or nobody's
 */
export function mustOwn(
  broker: Broker,
  { principal }: Pick<Connection, 'principal'>,
  producerId: number,
): Promise<void> | undefined {
  if (principal.mechanism === 'none') return undefined
  const producer = broker.producer(producerId)
  if (producer === undefined) return mustOwnLater(broker, principal, producerId)
  check(principal, producerId, producer)
  return undefined
}

async function mustOwnLater(broker: Broker, principal: Principal, id: number): Promise<void> {
  await broker.fresh()
  check(principal, id, broker.producer(id))
}

/** Those from before there were owners, or authentication, are for whoever knows them. */
function check(principal: Principal, producerId: number, producer: Producer | undefined): void {
  const owner = producer === undefined ? '' : ownerOf(producer)
  if (owner === undefined || owner === ownerName(principal)) return
  throw new LogloomError('UNKNOWN_PRODUCER', `producer ${producerId} is not known`, { producerId })
}

/** Of one that came with a snapshot its transactional id says so. */
function ownerOf({ owner, transactionalId = '' }: Producer): string | undefined {
  const end = transactionalId.lastIndexOf(' ')
  return owner ?? (end < 0 ? undefined : transactionalId.slice(0, end))
}

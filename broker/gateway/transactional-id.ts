// Transactional ids belong to their principal: whoever comes with one fences all that came with it before, which must not be anybody (Kafka has a
// resource of its own for this).

import type { Principal } from '../security/principal.ts'

/** The name in the state. Ids have no spaces, so no two principals share one; nor does anybody with the time when authentication was off. */
export function ownTransactionalId({ mechanism, name }: Principal, id: string): string {
  return mechanism === 'none' ? id : `${name} ${id}`
}

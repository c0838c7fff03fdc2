// Names of principals, as Kafka writes them: `User:alice`. `User:*` is everybody.

import { LogloomError } from '../../wire/errors.ts'
import { everyone } from './acl.ts'

/** Characters, `User:` included: an OpenID subject has up to 255. */
export const principalLengthMax = 260
const form = /^User:[^\p{Cc}\p{Cs}]+$/u

/** @throws INVALID_REQUEST; also for `User:*` unless `everyoneToo` */
export function checkPrincipal(text: string, everyoneToo = false): string {
  const shown = JSON.stringify(text.slice(0, 100))
  if (text.length > principalLengthMax || !form.test(text))
    throw new LogloomError(
      'INVALID_REQUEST',
      `principal ${shown}: use User:NAME, at most ${principalLengthMax} characters (principalLengthMax), none of them a control character`,
      { field: 'principal', limit: principalLengthMax, actual: text.length },
    )
  if (text === everyone && !everyoneToo)
    throw new LogloomError('INVALID_REQUEST', `principal ${shown} is everybody, not somebody`, {
      field: 'principal',
    })
  return text
}

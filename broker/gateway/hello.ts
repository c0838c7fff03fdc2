// hello: the first frame of a connection (protocol.md 1.2).

import { supportedCodecs } from '../../wire/batch.ts'
import { LogloomError } from '../../wire/errors.ts'
import { optMap, optStr, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { wireLimits } from '../../wire/limits.ts'
import type { Principal } from '../security/principal.ts'
import type { GatewayContext } from './context.ts'

const protocolVersions = [1]

/** @throws HELLO_REQUIRED, UNSUPPORTED_PROTOCOL, INVALID_REQUEST: the connection ends */
export function checkHello(frame: Frame): void {
  if (frame.op !== 'hello') {
    const first = typeof frame.op === 'string' ? JSON.stringify(frame.op.slice(0, 60)) : 'nothing'
    throw new LogloomError('HELLO_REQUIRED', `the first frame was ${first}, not hello`)
  }
  const protocol = uint(frame, 'protocol')
  str(frame, 'client')
  if (!protocolVersions.includes(protocol))
    throw new LogloomError('UNSUPPORTED_PROTOCOL', `protocol ${protocol} is not spoken here`, {
      supported: protocolVersions,
    })
}

/** The token of a `hello` or an `authenticate`. @throws INVALID_REQUEST */
export function credentialOf(frame: Frame): string | undefined {
  const auth = optMap(frame, 'auth')
  return auth === undefined ? undefined : optStr({ ...auth, op: 'auth' }, 'token')
}

/** Who a connection is taken for, and until when. Relative too: clocks differ. */
export function principalReply({ name, expiresAt }: Principal): Frame {
  return {
    principal: name,
    ...(expiresAt === undefined
      ? {}
      : { expiresAt, expiresInMs: Math.max(0, expiresAt - Date.now()) }),
  }
}

/** What `hello` is answered. */
export function helloReply(context: GatewayContext, principal: Principal): Frame {
  const { settings, serverId, version } = context
  const brokers = context.brokers()
  const { frameBytesMax, batchBytesMax, recordsPerPublishMax, requestsInFlightMax } = settings
  const { bytesInFlightMax, subscriptionsMax, creditBytesMax } = settings
  return {
    protocol: protocolVersions[0],
    ...(context.authenticator.required ? { auth: principalReply(principal) } : {}),
    serverId,
    version,
    codecs: [...supportedCodecs],
    ...(brokers.length > 0 ? { brokers } : {}),
    limits: {
      frameBytesMax,
      batchBytesMax,
      recordsPerPublishMax,
      requestsInFlightMax,
      bytesInFlightMax,
      subscriptionsMax,
      creditBytesMax,
      producerInFlightMax: wireLimits.producerInFlightMax,
    },
  }
}

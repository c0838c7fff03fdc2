// hello: the first frame of a connection (protocol.md 1.2).

import { supportedCodecs } from '../../wire/batch.ts'
import { LogloomError } from '../../wire/errors.ts'
import { str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { wireLimits } from '../../wire/limits.ts'
import type { GatewayContext } from './context.ts'

const protocolVersions = [1]

/** What `hello` is answered. @throws HELLO_REQUIRED, UNSUPPORTED_PROTOCOL, INVALID_REQUEST: the connection ends */
export function hello(context: GatewayContext, frame: Frame): Frame {
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
  const { settings, serverId, version } = context
  const brokers = context.brokers()
  const { frameBytesMax, batchBytesMax, recordsPerPublishMax, requestsInFlightMax } = settings
  const { bytesInFlightMax, subscriptionsMax, creditBytesMax } = settings
  return {
    protocol,
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

// Frames of calls (protocol.md 9.2): `{ id, verb, body }` → `{ id, body }` or `{ id, error: { code, message } }`.
//
// What is packed here passes the receiver's guard: a message that does not is refused where it is made, and the link lives.

import type { Message } from '../../loglets/net.ts'
import { LogloomError } from '../../wire/errors.ts'
import { type Frame, packFrame } from '../../wire/frame.ts'
import { checkFrame } from '../../wire/guard.ts'
import { errorTextMax, peerFrameBytesMax, peerGuardLimits } from './peer-limits.ts'

/** @throws MESSAGE_TOO_LARGE, INVALID_REQUEST for what no frame carries */
export function packCall(id: number, verb: string, body: Message): Uint8Array {
  return pack({ id, verb, body: withoutUndefined(body) }, verb)
}

/** @throws as {@link packCall} */
export function packReply(id: number, verb: string, body: Message): Uint8Array {
  return pack({ id, body: withoutUndefined(body) }, `the reply to ${verb}`)
}

export function packError(id: number, error: CodedError): Uint8Array {
  return packFrame({ id, error: { code: error.code, message: error.message } })
}

export interface CodedError {
  readonly code: string
  readonly message: string
}

/** What a handler rejected with, as the caller is to see it. */
export function codedError(error: unknown): CodedError {
  const { code, message } = (typeof error === 'object' && error !== null ? error : {}) as {
    code?: unknown
    message?: unknown
  }
  return {
    code: typeof code === 'string' ? code.slice(0, 64) : 'INTERNAL',
    message: (typeof message === 'string' ? message : String(error)).slice(0, errorTextMax),
  }
}

/** The error of an error reply; undefined when it is none. */
export function readError(frame: Frame): CodedError | undefined {
  const { error } = frame
  if (typeof error !== 'object' || error === null) return undefined
  const { code, message } = error as Partial<CodedError>
  return typeof code === 'string' && typeof message === 'string' ? { code, message } : undefined
}

function pack(frame: Frame, what: string): Uint8Array {
  const bytes = packFrame(frame)
  if (bytes.length > peerFrameBytesMax)
    throw new LogloomError(
      'MESSAGE_TOO_LARGE',
      `${what} has ${bytes.length} bytes, the limit between nodes is ${peerFrameBytesMax} (peerFrameBytesMax): send less at a time`,
      { limit: peerFrameBytesMax, actual: bytes.length },
    )
  checkFrame(bytes, peerGuardLimits)
  return bytes
}

function withoutUndefined(message: Message): Frame {
  for (const key in message)
    if (message[key] === undefined)
      return Object.fromEntries(Object.entries(message).filter(([, value]) => value !== undefined))
  return message
}

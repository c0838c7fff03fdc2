// Who is on the other end of a link between nodes (protocol.md 9.1).
//
//   acceptor ── challenge: nonce ──► dialer ── hello: nonce, proof ──► acceptor ── welcome: proof ──► dialer
//
// Guarantees: each side shows that it holds the cluster's secret, for this connection (both nonces), in this role (labels) and as this node
// (names and incarnations are under the proof); the secret is never sent. It does not protect what follows: that is for the network or TLS.
// Pure functions over frames; sockets and time are elsewhere.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { type NodeId, nodeIdPattern } from '../../loglets/net.ts'
import { LogloomError } from '../../wire/errors.ts'
import { optStr, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'

/** Protocol numbers that a node speaks, both ends included. */
export interface ProtocolRange {
  readonly min: number
  readonly max: number
}

/** What a node says about itself, and the secret with which it proves it. */
export interface Identity {
  readonly clusterId: string
  readonly secret: string
  readonly node: NodeId
  /** Of this process; another one of the same node has another. */
  readonly incarnation: string
  readonly protocols: ProtocolRange
  /** Of the software; for people. */
  readonly version: string
  /**
   * When and by whom this node's cluster was begun (`birth` of the register's records); undefined as long as the node knows of none. Tells
   * apart clusters of the same name and secret. Not under the proof: it guards against mix-ups, not against those who hold the secret.
   */
  readonly birth: () => string | undefined
}

/** What the other side has proved. */
export interface Peer {
  readonly node: NodeId
  readonly incarnation: string
  readonly protocol: number
  readonly version: string
}

/** `reason` of a PEER_CLUSTER by which a node learns that its directory may be the wrong one. */
export const foreignBirth = 'birth'

export const protocolRange: ProtocolRange = { min: 1, max: 1 }

const nonceBytes = 32
const hexPattern = /^[0-9a-f]{64}$/
/** Characters of a cluster id, an incarnation, a version. */
const namePattern = /^[\x21-\x7e]{1,64}$/

export function newNonce(): string {
  return randomBytes(nonceBytes).toString('hex')
}

/** A cluster id, an incarnation or a version that can cross the link: 1 to 64 visible ASCII characters. */
export function isName(text: string): boolean {
  return namePattern.test(text)
}

/** First frame of all, by the acceptor. */
export function challengeFrame(acceptorNonce: string): Frame {
  return { op: 'peer-challenge', nonce: acceptorNonce }
}

/** The acceptor's nonce. @throws BAD_FRAME, or the refusal that came instead */
export function readChallenge(frame: Frame): string {
  expect(frame, 'peer-challenge')
  return matching(frame, 'nonce', hexPattern)
}

/** The dialer's answer to a challenge; `to` is the node that it means to reach. */
export function helloFrame(
  me: Identity,
  to: NodeId,
  dialerNonce: string,
  challenge: string,
): Frame {
  const { clusterId, node, incarnation, version, protocols } = me
  const proof = prove(me.secret, [
    'logloom peer dialer',
    clusterId,
    node,
    incarnation,
    to,
    version,
    String(protocols.min),
    String(protocols.max),
    dialerNonce,
    challenge,
  ])
  return {
    op: 'peer-hello',
    protocolMin: protocols.min,
    protocolMax: protocols.max,
    clusterId,
    node,
    incarnation,
    version,
    to,
    nonce: dialerNonce,
    proof,
    birth: me.birth() ?? null,
  }
}

/**
 * Checks a dialer's hello.
 * @returns the peer and the welcome, to be sent once the peer is admitted
 * @throws BAD_FRAME, PEER_PROTOCOL, PEER_CLUSTER, PEER_SECRET, PEER_MISDIRECTED
 */
export function checkHello(
  me: Identity,
  frame: Frame,
  challenge: string,
): { readonly peer: Peer; readonly welcome: Frame } {
  expect(frame, 'peer-hello')
  // First, because all that follows may look different in another protocol.
  const theirs = { min: uint(frame, 'protocolMin'), max: uint(frame, 'protocolMax') }
  const protocol = Math.min(theirs.max, me.protocols.max)
  if (protocol < theirs.min || protocol < me.protocols.min)
    throw new LogloomError(
      'PEER_PROTOCOL',
      `node ${me.node} (logloom ${me.version}) speaks peer protocols ${me.protocols.min} to ${me.protocols.max}, the node that dials ${theirs.min} to ${theirs.max}`,
      { supported: [me.protocols.min, me.protocols.max], actual: [theirs.min, theirs.max] },
    )
  const node = matching(frame, 'node', nodeIdPattern)
  const incarnation = matching(frame, 'incarnation', namePattern)
  const version = matching(frame, 'version', namePattern)
  const clusterId = matching(frame, 'clusterId', namePattern)
  const to = matching(frame, 'to', nodeIdPattern)
  const birth = optStr(frame, 'birth')
  const nonce = matching(frame, 'nonce', hexPattern)
  if (clusterId !== me.clusterId)
    throw new LogloomError(
      'PEER_CLUSTER',
      `node ${node} belongs to cluster ${clusterId}, node ${me.node} to ${me.clusterId}`,
      { expected: me.clusterId, actual: clusterId },
    )
  const proof = prove(me.secret, [
    'logloom peer dialer',
    clusterId,
    node,
    incarnation,
    to,
    version,
    String(theirs.min),
    String(theirs.max),
    nonce,
    challenge,
  ])
  if (!same(proof, matching(frame, 'proof', hexPattern)))
    throw new LogloomError(
      'PEER_SECRET',
      `node ${node} does not have the secret of node ${me.node}`,
    )
  if (to !== me.node)
    throw new LogloomError(
      'PEER_MISDIRECTED',
      `node ${node} looks for node ${to}, and this is node ${me.node}`,
      { expected: to, actual: me.node },
    )
  const born = me.birth()
  if (birth !== undefined && born !== undefined && birth !== born)
    throw new LogloomError(
      'PEER_CLUSTER',
      `the data directory of node ${node} is of another cluster ${clusterId} (begun as ${birth}) than that of node ${me.node} (begun as ${born})`,
      { expected: born, actual: birth, reason: foreignBirth },
      {
        hint: 'start the node with the directory that it had in this cluster, or with an empty one',
      },
    )
  const welcome = {
    op: 'peer-welcome',
    protocol,
    node: me.node,
    incarnation: me.incarnation,
    version: me.version,
    proof: proveWelcome(me.secret, me, protocol, node, nonce, challenge),
  }
  return { peer: { node, incarnation, protocol, version }, welcome }
}

/**
 * Checks the acceptor's answer to our hello.
 * @throws BAD_FRAME, PEER_SECRET, PEER_MISDIRECTED, or the refusal that came instead
 */
export function checkWelcome(
  me: Identity,
  frame: Frame,
  to: NodeId,
  dialerNonce: string,
  challenge: string,
): Peer {
  expect(frame, 'peer-welcome')
  const peer = {
    node: matching(frame, 'node', nodeIdPattern),
    incarnation: matching(frame, 'incarnation', namePattern),
    version: matching(frame, 'version', namePattern),
    protocol: uint(frame, 'protocol'),
  }
  const proof = proveWelcome(me.secret, peer, peer.protocol, me.node, dialerNonce, challenge)
  if (!same(proof, matching(frame, 'proof', hexPattern)))
    throw new LogloomError('PEER_SECRET', `node ${to} does not have the secret of node ${me.node}`)
  if (peer.node !== to)
    throw new LogloomError('PEER_MISDIRECTED', `looked for node ${to} and found ${peer.node}`, {
      expected: to,
      actual: peer.node,
    })
  if (peer.protocol < me.protocols.min || peer.protocol > me.protocols.max)
    throw new LogloomError('PEER_PROTOCOL', `node ${to} chose protocol ${peer.protocol}`, {
      supported: [me.protocols.min, me.protocols.max],
      actual: peer.protocol,
    })
  return peer
}

/** In place of any answer; the connection is closed behind it. */
export function refusalFrame(error: LogloomError): Frame {
  return { op: 'peer-refused', error: error.toWire() }
}

function proveWelcome(
  secret: string,
  acceptor: { readonly node: string; readonly incarnation: string; readonly version: string },
  protocol: number,
  dialer: NodeId,
  dialerNonce: string,
  challenge: string,
): string {
  const { node, incarnation, version } = acceptor
  return prove(secret, [
    'logloom peer acceptor',
    node,
    incarnation,
    version,
    String(protocol),
    dialer,
    dialerNonce,
    challenge,
  ])
}

/** HMAC-SHA256 over the fields, each with its length in bytes before it, so that no two lists are the same bytes. */
function prove(secret: string, fields: readonly string[]): string {
  const mac = createHmac('sha256', secret)
  for (const field of fields) mac.update(`${Buffer.byteLength(field)}:${field},`)
  return mac.digest('hex')
}

function same(expected: string, actual: string): boolean {
  return timingSafeEqual(Buffer.from(expected, 'hex'), Buffer.from(actual, 'hex'))
}

function expect(frame: Frame, op: string): void {
  if (frame.op === op) return
  if (frame.op === 'peer-refused' && isRefusal(frame.error))
    throw LogloomError.fromWire({ ...frame.error, message: frame.error.message.slice(0, 1000) })
  throw new LogloomError('BAD_FRAME', `expected ${op}`, { rule: 'handshake' })
}

function isRefusal(
  value: unknown,
): value is { code: string; message: string; retriable: boolean; hint: string } {
  if (typeof value !== 'object' || value === null) return false
  const { code, message, retriable, hint } = value as Record<string, unknown>
  return (
    typeof code === 'string' &&
    typeof message === 'string' &&
    typeof retriable === 'boolean' &&
    typeof hint === 'string'
  )
}

function matching(frame: Frame, key: string, pattern: RegExp): string {
  const text = str(frame, key)
  if (!pattern.test(text))
    throw new LogloomError('BAD_FRAME', `${key} does not match ${pattern.source}`, {
      rule: 'handshake',
      field: key,
    })
  return text
}

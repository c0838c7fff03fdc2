// Who gets as far as saying hello (docs/limits.md, "What comes in"): sockets that nobody has vouched for are few, short-lived and spread over
// addresses, so that floods of them cost little and leave room for others.
//
//   TCP accept ──► HTTP headers ──► upgrade ──► hello ──► a connection, with an account
//    └ connectionsPerAddressMax      └ handshakesPerSecondMax (503, Retry-After)
//    └──────────── strangersMax: the oldest makes room ────────────┘
//
// The one that has been silent for longest goes: who means well needs a round trip or two, who does not stays until it is cut.

import { addressKey } from '../../security/address-key.ts'
import type { Socket } from 'node:net'
import type { Settings } from '../../settings.ts'
import { isLoopback } from '../origin.ts'
import { count } from '../stats.ts'
import { TokenBucket } from './token-bucket.ts'

/** One address may make this part of all handshakes. */
const addressShare = 0.25

/** Why a socket was turned away or cut before it said hello; `ADDRESS_LIMIT` and `STRANGER_LIMIT` without an answer. */
export type DoorRefusal = 'HANDSHAKE_RATE' | 'ADDRESS_LIMIT' | 'STRANGER_LIMIT'

interface Address {
  sockets: number
  readonly handshakes: TokenBucket
}

export class Doorkeeper {
  private readonly settings: Settings
  private readonly rejected: Map<string, number>
  private readonly handshakes: TokenBucket
  private readonly addresses = new Map<string, Address>()
  /** Who has been silent for longest comes first. */
  private readonly strangers = new Map<string, Socket>()

  constructor(settings: Settings, rejected: Map<string, number>) {
    this.settings = settings
    this.rejected = rejected
    this.handshakes = new TokenBucket(settings.handshakesPerSecondMax, performance.now())
  }

  /** Sockets that have not said hello. */
  get strangerCount(): number {
    return this.strangers.size
  }

  /** A TCP connection was accepted; it may be destroyed at once. */
  accepted(socket: Socket): void {
    const key = addressKey(socket.remoteAddress ?? '')
    const address = this.addressOf(key)
    const { connectionsPerAddressMax, strangersMax } = this.settings
    if (!isLoopback(key) && address.sockets >= connectionsPerAddressMax) {
      count(this.rejected, 'ADDRESS_LIMIT')
      socket.destroy()
      return
    }
    const name = socketName(socket)
    address.sockets++
    this.strangers.set(name, socket)
    socket.once('close', () => {
      if (this.strangers.get(name) === socket) this.strangers.delete(name)
      address.sockets--
    })
    if (this.strangers.size <= strangersMax) return
    const [[oldestName, oldest] = []] = this.strangers
    if (oldestName !== undefined) this.strangers.delete(oldestName)
    count(this.rejected, 'STRANGER_LIMIT')
    oldest?.destroy()
  }

  /** A whole request came from it. */
  heard(socket: Socket): void {
    const name = socketName(socket)
    const stranger = this.strangers.get(name)
    if (stranger === undefined) return
    this.strangers.delete(name)
    this.strangers.set(name, stranger)
  }

  /** Whether another upgrade may be made now. */
  mayUpgrade(socket: Socket): boolean {
    const now = performance.now()
    const key = addressKey(socket.remoteAddress ?? '')
    if (!isLoopback(key) && !this.addressOf(key).handshakes.tryTake(now)) return false
    return this.handshakes.tryTake(now)
  }

  /** It has said hello: somebody else counts it from now on. */
  greeted(socket: Pick<Socket, 'remoteAddress' | 'remotePort'>): void {
    this.strangers.delete(socketName(socket))
  }

  /** Forgets addresses without sockets, once they may shake hands as often as any other. */
  sweep(now: number): void {
    for (const [key, { sockets, handshakes }] of this.addresses)
      if (sockets === 0 && handshakes.isFull(now)) this.addresses.delete(key)
  }

  private addressOf(key: string): Address {
    let address = this.addresses.get(key)
    if (address === undefined) {
      const rate = Math.max(1, this.settings.handshakesPerSecondMax * addressShare)
      address = { sockets: 0, handshakes: new TokenBucket(rate, performance.now()) }
      this.addresses.set(key, address)
    }
    return address
  }
}

/** The same for a TCP connection and for the TLS session on it. */
function socketName({ remoteAddress, remotePort }: Pick<Socket, 'remoteAddress' | 'remotePort'>) {
  return `${remoteAddress ?? ''} ${remotePort ?? ''}`
}

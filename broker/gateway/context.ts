// What every handler of the gateway can reach: the broker, the settings, the shared timers and the counters.

import type { Broker } from '../broker.ts'
import type { Authenticator } from '../security/authenticator.ts'
import type { Frame } from '../../wire/frame.ts'
import type { Authorizer } from '../security/authorizer.ts'
import type { Denial } from '../security/denial-log.ts'
import type { Settings } from '../settings.ts'
import type { LoadControl } from './load/load-control.ts'
import type { SharedReads } from './shared-reads.ts'
import type { SnapshotDesk } from '../snapshot/desk.ts'
import type { GatewayStats } from './stats.ts'
import type { Timers } from './timers.ts'
import type { TopicDirectory } from './topic-directory.ts'

export interface BrokerAddress {
  readonly nodeId: string
  readonly url: string
}

/** A node of the cluster, as the answering broker sees it now. */
export interface NodeStatus {
  readonly node: string
  readonly up: boolean
  readonly self: boolean
  /** Let in, but not up since: no member yet. */
  readonly joining: boolean
  /** Of its listener for nodes. */
  readonly peerUrl: string
  /** Of its broker, if it runs one and is up. */
  readonly url?: string
  readonly version?: string
  /** Whether it runs a log server, if it is up. */
  readonly logServer?: boolean
}

/** A sealed segment that lost copies for good: which are left, and whose are gone. */
export interface SegmentCopies {
  readonly index: number
  readonly copies: number
  readonly wanted: number
  readonly gone: readonly string[]
}

/** Planned changes of who is in the cluster, and what it lacks. */
export interface ClusterChanges {
  addNode(node: string, peerUrl: string): Promise<void>
  removeNode(node: string): Promise<void>
  lostCopies(): readonly SegmentCopies[]
}

/** A connection as others may see it, and end it. */
export interface OpenConnection {
  readonly id: number
  readonly closed: boolean
  describe(): Frame
  /** Ends it for now: the client may dial again. */
  dismiss(reason: string): void
}

export interface GatewayContext {
  readonly broker: Broker
  readonly settings: Settings
  readonly version: string
  readonly serverId: string
  readonly timers: Timers
  readonly stats: GatewayStats
  readonly authenticator: Authenticator
  readonly topics: TopicDirectory
  readonly reads: SharedReads
  readonly snapshots: SnapshotDesk
  /** What may come in when much does. */
  readonly load: LoadControl
  /** Brokers of the same log that clients may turn to, this one included; empty for a broker alone. */
  readonly brokers: () => readonly BrokerAddress[]
  /** Every node of the cluster; empty for a broker alone. */
  readonly nodes: () => readonly NodeStatus[]
  /** Undefined for a broker alone. */
  readonly cluster: ClusterChanges | undefined
  /** By the monotonic clock, ms. */
  readonly startedAt: number
  /** The oldest first. */
  readonly connections: () => Iterable<OpenConnection>
  readonly authorizer: Authorizer
  readonly onDenied: (denial: Denial) => void
  /** A line for the log, see audit.ts. */
  readonly onAudit: (line: Frame) => void
  readonly onInternalError: (error: unknown, op: string) => void
}

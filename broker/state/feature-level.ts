// Which commands the brokers of a log can read (DESIGN 5.2): a broker stops at a command that is newer than itself, so nobody may write one
// before all that live can read it. Each broker tells its feature level in its session, through the log; the lowest one counts.
//
// A new kind of command raises `featureLevel` by one and is entered in `levelOf`. The meaning of an older one never changes.

import { LogloomError } from '../../wire/errors.ts'
import type { Command, CommandType } from './commands.ts'
import { snapshotCommandTypes } from './restore/commands.ts'

/** What a session has that tells none: the versions before there were levels. */
export const firstFeatureLevel = 1
/** Cleaning and key compaction. */
export const cleaningLevel = 2
/** Partitions are added to topics in use. */
const partitionsLevel = 3
/** Share groups. */
const sharesLevel = 4
/** API keys, ACLs and quotas. */
const securityLevel = 5
/** Snapshots: holds, and restores of topics that nobody sees yet. */
const snapshotsLevel = 6
/** Producers belong to whoever asked for them. */
const ownersLevel = 7
/** Of this version. */
export const featureLevel = ownersLevel

/** What is to be known of the broker of a session. */
export interface Leveled {
  readonly node: string
  readonly level: number
}

const levels: Partial<Record<CommandType, number>> = {
  relocate: cleaningLevel,
  compacted: cleaningLevel,
  addPartitions: partitionsLevel,
  openShareGroup: sharesLevel,
  acquireRecords: sharesLevel,
  acknowledgeRecords: sharesLevel,
  releaseRecords: sharesLevel,
  sweepShareGroups: sharesLevel,
  createToken: securityLevel,
  revokeToken: securityLevel,
  sweepTokens: securityLevel,
  createAcls: securityLevel,
  deleteAcls: securityLevel,
  setQuota: securityLevel,
  ...Object.fromEntries(snapshotCommandTypes.map(type => [type, snapshotsLevel])),
}

/** The level that a broker needs to read the command. */
export function levelOf(command: Command): number {
  if (command.type === 'publish' && command.ack !== undefined) return sharesLevel
  if (command.type === 'initProducer' && command.owner !== undefined) return ownersLevel
  const isMapped =
    (command.type === 'produce' && command.partitions !== undefined) ||
    (command.type === 'publish' && command.maps !== undefined)
  return isMapped ? partitionsLevel : (levels[command.type] ?? firstFeatureLevel)
}

/** What this broker and all of `peers` read. */
export function lowestLevel(peers: Iterable<Leveled>): number {
  let lowest = featureLevel
  for (const { level } of peers) lowest = Math.min(lowest, level)
  return lowest
}

/**
 * The command in a form that all peers read.
 * @throws UNSUPPORTED_VERSION when there is none
 */
export function atLevel(command: Command, peers: Iterable<Leveled>): Command {
  const needed = levelOf(command)
  if (needed === firstFeatureLevel) return command
  const behind = [...peers].filter(({ level }) => level < needed)
  if (behind.length === 0) return command
  // While nobody can add partitions there is nothing that a choice must be held against.
  if (command.type === 'produce') {
    const { partitions: _partitions, ...plain } = command
    return plain
  }
  if (command.type === 'publish' && command.ack === undefined) {
    const { maps: _maps, ...plain } = command
    return plain
  }
  // Nobody's, then, as all were before.
  if (command.type === 'initProducer') {
    const { owner: _owner, ...plain } = command
    return plain
  }
  const nodes = behind.map(({ node }) => node).sort()
  throw new LogloomError(
    'UNSUPPORTED_VERSION',
    `${command.type} needs brokers of feature level ${needed}: ${nodes.join(', ')} cannot read it`,
    { limit: lowestLevel(behind), actual: needed, nodes },
  )
}

// Keeps the register's members what the nodes are: each by name and data directory, so that a node which lost its disk gets a new vote instead
// of answering with an empty memory for its old one. A change is decided by a majority of the old members, so it is safe whoever proposes it.

import type { Acceptor } from '../../loglets/metastore/paxos/acceptor.ts'
import type { PaxosMetaStore } from '../../loglets/metastore/paxos/paxos-metastore.ts'
import { nodeOf } from '../../loglets/metastore/paxos/record.ts'
import type { Clock } from '../../loglets/ports.ts'
import type { BrokerLogger } from '../broker-options.ts'
import type { NodeDescription } from './membership.ts'
import type { PeerList } from './peer-list.ts'

export interface RegisterMembersOptions {
  readonly acceptor: Acceptor
  readonly metaStore: PaxosMetaStore
  readonly clock: Clock
  readonly self: string
  readonly members: () => readonly NodeDescription[]
  readonly peers: PeerList
  readonly logger: BrokerLogger
}

const lookMs = 1000

/** Runs until the signal says stop. Never rejects. */
export async function keepRegisterMembers(
  { acceptor, metaStore, clock, self, members, peers, logger }: RegisterMembersOptions,
  signal: AbortSignal,
): Promise<void> {
  /** Said once, until it works again. */
  let isStuck = false
  while (!signal.aborted) {
    await clock.sleep(lookMs, signal).catch(() => {})
    if (signal.aborted) return
    try {
      const up = new Map(members().map(member => [member.node, member]))
      const { instance, members: now } = await acceptor.decided()
      if (instance > 0) {
        const heard = new Map(
          [...up.values()].flatMap(({ peers: told = {} }) => Object.entries(told)),
        )
        const news = await peers.follow(now.map(nodeOf), heard)
        if (news.length > 0)
          logger.info({ nodes: [...peers.all.keys()] }, 'the cluster has changed')
      }
      // Who was asked to let a node in sees to it; for the rest one proposer is enough, the first by name of those that are up.
      const joining = [...peers.joining].filter(node => up.has(node))
      if ([...up.keys()].sort()[0] !== self && joining.length === 0) continue
      // One at a time: two majorities, before and after, have a node in common.
      const wanted = [...now, ...joining.slice(0, 1)].map(member => {
        const { directory, store = directory } = up.get(nodeOf(member)) ?? {}
        return store === undefined ? member : `${nodeOf(member)}@${store}`
      })
      if (wanted.join() === now.join()) continue
      const changed = await metaStore.changeMembers(now, wanted)
      isStuck = false
      // A new cluster learns the directories of its nodes once: nobody did anything.
      if (!now.some(member => member.includes('@'))) continue
      logger.info({ members: changed }, 'the members of the register are new')
    } catch (error) {
      if (!signal.aborted && !isStuck)
        logger.warn(
          { error: (error as Error).message },
          'the members of the register stay as they are',
        )
      isStuck = true
    }
  }
}

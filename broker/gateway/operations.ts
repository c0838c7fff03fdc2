// The table of operations: what a request's `op` means (protocol.md).

import type { Frame } from '../../wire/frame.ts'
import { authenticate, mintToken } from './authentication.ts'
import type { Call, Connection } from './connection.ts'
import type { GatewayContext } from './context.ts'
import { closeConnection, describeBroker, listConnections } from './describe-broker.ts'
import { fetch } from './fetch.ts'
import { describeGroup, listGroups, resetOffsets } from './group-admin.ts'
import {
  commitOffsets,
  deleteGroup,
  fetchOffsets,
  joinGroup,
  leaveGroup,
  releasePartitions,
} from './groups.ts'
import {
  addNode,
  describeCluster,
  describeLog,
  health,
  removeNode,
  sealLog,
  snapshot,
  switchLog,
  trimLog,
  verifyLog,
} from './log.ts'
import { produce } from './produce.ts'
import { publish } from './publish.ts'
import {
  createAcls,
  createToken,
  deleteAcls,
  listAcls,
  listQuotas,
  listTokens,
  revokeToken,
  setQuota,
} from './security-admin.ts'
import { leaveShareGroup, openShareGroup, shareAcknowledge, shareFetch } from './share.ts'
import {
  closeSnapshot,
  describeRestore,
  dropRestore,
  finishRestore,
  openSnapshot,
  readSnapshot,
  renewSnapshot,
  restoreBatches,
  restoreState,
  restoreTopic,
} from './snapshots.ts'
import type { Api } from './stats.ts'
import { subscribe, unsubscribe } from './subscription.ts'
import {
  alterTopic,
  createTopic,
  deleteRecords,
  deleteTopic,
  describeTopic,
  initProducer,
  listOffsets,
  listTopics,
} from './topics.ts'

export type Handler = (
  context: GatewayContext,
  frame: Frame,
  connection: Connection,
  call: Call,
) => Frame | Promise<Frame>

export interface Operation {
  readonly api: Api
  readonly handle: Handler
}

const admin = (handle: Handler): Operation => ({ api: 'admin', handle })

export const operations: ReadonlyMap<string, Operation> = new Map<string, Operation>([
  ['produce', { api: 'produce', handle: produce }],
  ['publish', { api: 'produce', handle: publish }],
  ['initProducer', admin(initProducer)],
  ['fetch', { api: 'fetch', handle: fetch }],
  ['subscribe', { api: 'fetch', handle: subscribe }],
  ['unsubscribe', { api: 'fetch', handle: unsubscribe }],
  ['createTopic', admin(createTopic)],
  ['deleteTopic', admin(deleteTopic)],
  ['alterTopic', admin(alterTopic)],
  ['deleteRecords', admin(deleteRecords)],
  ['listTopics', admin(listTopics)],
  ['describeTopic', admin(describeTopic)],
  ['listOffsets', admin(listOffsets)],
  ['joinGroup', { api: 'group', handle: joinGroup }],
  ['leaveGroup', { api: 'group', handle: leaveGroup }],
  ['releasePartitions', { api: 'group', handle: releasePartitions }],
  ['commitOffsets', { api: 'group', handle: commitOffsets }],
  ['fetchOffsets', { api: 'group', handle: fetchOffsets }],
  ['openShareGroup', { api: 'group', handle: openShareGroup }],
  ['shareFetch', { api: 'fetch', handle: shareFetch }],
  ['shareAcknowledge', { api: 'group', handle: shareAcknowledge }],
  ['leaveShareGroup', { api: 'group', handle: leaveShareGroup }],
  ['listGroups', admin(listGroups)],
  ['describeGroup', admin(describeGroup)],
  ['resetOffsets', admin(resetOffsets)],
  ['deleteGroup', admin(deleteGroup)],
  ['describeLog', admin(describeLog)],
  ['snapshot', { api: 'fetch', handle: snapshot }],
  ['openSnapshot', admin(openSnapshot)],
  ['readSnapshot', admin(readSnapshot)],
  ['renewSnapshot', admin(renewSnapshot)],
  ['closeSnapshot', admin(closeSnapshot)],
  ['restoreTopic', admin(restoreTopic)],
  ['restoreBatches', { api: 'produce', handle: restoreBatches }],
  ['restoreState', admin(restoreState)],
  ['finishRestore', admin(finishRestore)],
  ['dropRestore', admin(dropRestore)],
  ['describeRestore', admin(describeRestore)],
  ['switchLog', admin(switchLog)],
  ['sealLog', admin(sealLog)],
  ['trimLog', admin(trimLog)],
  ['verifyLog', admin(verifyLog)],
  ['describeCluster', admin(describeCluster)],
  ['describeBroker', admin(describeBroker)],
  ['listConnections', admin(listConnections)],
  ['closeConnection', admin(closeConnection)],
  ['addNode', admin(addNode)],
  ['removeNode', admin(removeNode)],
  ['createToken', admin(createToken)],
  ['listTokens', admin(listTokens)],
  ['revokeToken', admin(revokeToken)],
  ['createAcls', admin(createAcls)],
  ['deleteAcls', admin(deleteAcls)],
  ['listAcls', admin(listAcls)],
  ['setQuota', admin(setQuota)],
  ['listQuotas', admin(listQuotas)],
  ['authenticate', admin(authenticate)],
  ['mintToken', admin(mintToken)],
  ['health', admin(health)],
  ['ping', admin(() => ({}))],
])

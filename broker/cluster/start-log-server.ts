// A node without a broker (`--roles logserver`): it keeps replicas of loglets and has a vote in the register (the paper's disaggregated
// deployment, OSDI 2020, section 4.1).

import { LogloomError } from '../../wire/errors.ts'
import { nodeDisk } from '../../loglets/node-disk.ts'
import type { BrokerLogger } from '../broker-options.ts'
import { openDataDirectory } from '../data-directory.ts'
import { packageVersion } from '../package-version.ts'
import type { Settings } from '../settings.ts'
import { ClusterNode } from './cluster-node.ts'
import { clusterConfigOf } from './cluster-settings.ts'

export interface RunningLogServer {
  /** Of the listener for nodes. */
  readonly url: string
  readonly node: string
  readonly data: string
  /** Idempotent. */
  close(): Promise<void>
}

export interface StartLogServerOptions {
  readonly settings: Settings
  readonly logger: BrokerLogger
  readonly onFatal: (error: Error) => void
}

/** @throws LogloomError: INVALID_CONFIG, PORT_IN_USE, DATA_DIR_* */
export async function startLogServer({
  settings,
  logger,
  onFatal,
}: StartLogServerOptions): Promise<RunningLogServer> {
  const config = clusterConfigOf(settings)
  if (config === undefined)
    throw new LogloomError('INVALID_CONFIG', 'a log server needs a cluster: give node and peers', {
      key: 'roles',
    })
  const { clusterId, self: nodeId } = config
  const directory = openDataDirectory(settings.data, { clusterId, nodeId })
  try {
    const node = await ClusterNode.start({
      config,
      disk: nodeDisk(directory.path),
      store: directory.store,
      version: packageVersion(),
      logger,
      onFatal,
    })
    return {
      url: config.peers.get(nodeId) ?? '',
      node: nodeId,
      data: directory.path,
      close: async () => {
        await node.close()
        directory.release()
      },
    }
  } catch (error) {
    directory.release()
    throw error
  }
}

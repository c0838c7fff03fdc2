// Operations on the log and the broker itself (protocol.md 7.1).

import { optBool, optUint, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import { LogloomError } from '../../wire/errors.ts'
import type { ClusterChanges, GatewayContext } from './context.ts'

/** That fit one frame. */
const lostCopiesShown = 1000

/** As far as this broker knows it; `stale` says why that may not be the newest. */
export async function describeLog({ broker }: GatewayContext): Promise<Frame> {
  try {
    await broker.fresh()
    return { ...broker.describeLog() }
  } catch (error) {
    if (!(error instanceof LogloomError) || error.code !== 'LOG_UNAVAILABLE') throw error
    return { ...broker.describeLog(), stale: error.message }
  }
}

/** A position that sees everything acked before the request. */
export async function snapshot({ broker }: GatewayContext): Promise<Frame> {
  await broker.fresh()
  return { position: broker.applied }
}

export async function switchLog(context: GatewayContext, frame: Frame): Promise<Frame> {
  return {
    ...(await context.broker.switchLog(str(frame, 'spec'), optUint(frame, 'expectedIndex'))),
  }
}

export async function sealLog(context: GatewayContext): Promise<Frame> {
  return { ...(await context.broker.sealLog()) }
}

export async function trimLog(context: GatewayContext, frame: Frame): Promise<Frame> {
  return {
    trim: await context.broker.trimLog(uint(frame, 'lsn'), optBool(frame, 'force') ?? false),
  }
}

/** Damaged ranges that fit one frame; `ok` tells whether there are any. */
export async function verifyLog(context: GatewayContext): Promise<Frame> {
  const { ok, entries, bytes, damaged } = await context.broker.verifyLog()
  return { ok, entries, bytes, damaged: damaged.slice(0, 1000) }
}

/** The nodes of the cluster as this one sees them, and sealed segments that lost copies; empty for a broker alone. */
export function describeCluster(context: GatewayContext): Frame {
  const lost = context.cluster?.lostCopies() ?? []
  return {
    nodes: context.nodes().map(node => ({ ...node })),
    lostCopies: lost.slice(0, lostCopiesShown).map(segment => ({ ...segment })),
  }
}

/** Lets a node in; it is a member as soon as it is up. */
export async function addNode(context: GatewayContext, frame: Frame): Promise<Frame> {
  const [node, peerUrl] = [str(frame, 'node'), str(frame, 'peerUrl')]
  await changesOf(context).addNode(node, peerUrl)
  return { node, peerUrl }
}

export async function removeNode(context: GatewayContext, frame: Frame): Promise<Frame> {
  const node = str(frame, 'node')
  await changesOf(context).removeNode(node)
  return { node }
}

function changesOf({ cluster }: GatewayContext): ClusterChanges {
  if (cluster !== undefined) return cluster
  throw new LogloomError(
    'INVALID_REQUEST',
    'this broker is alone: it has no cluster',
    {},
    {
      hint: 'start the nodes with node and peers',
    },
  )
}

export function health(context: GatewayContext): Frame {
  return { ...context.broker.health(), version: context.version }
}

// Operations on the log and the broker itself (protocol.md 7.1).

import { optBool, optUint, str, uint } from '../../wire/fields.ts'
import type { Frame } from '../../wire/frame.ts'
import type { GatewayContext } from './context.ts'

export async function describeLog(context: GatewayContext): Promise<Frame> {
  await context.broker.sync()
  return { ...context.broker.describeLog() }
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

/** The nodes of the cluster as this one sees them; empty for a broker alone. */
export function describeCluster(context: GatewayContext): Frame {
  return { nodes: context.nodes().map(node => ({ ...node })) }
}

export function health(context: GatewayContext): Frame {
  return { ...context.broker.health(), version: context.version }
}

// Reads: one copy is enough, because what is read is known to be below the global tail. The own node first, then the others.
//
// A server that lacks a position (it was skipped there, or is damaged) is no loss as long as another may have it: `lost` is said only when
// every server of the loglet has said so.

import {
  LogletUnavailableError,
  type LogItem,
  position,
  type Slice,
  type SliceResult,
} from '../contract.ts'
import { RemoteError } from '../net.ts'
import { itemsOf, list, nativeErrors, slicesOf, verbs } from './messages.ts'
import type { LogServerId } from './placement.ts'
import { callServer, type LogletContext, unavailable } from './quorum.ts'

const readTimeoutMs = 5000

/** See the contract's `readNext`. @throws {LogletUnavailableError} when nobody who has it answers */
export async function readNext(
  context: LogletContext,
  from: number,
  to: number,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<readonly LogItem[]> {
  const failures: string[] = []
  let lostUpTo = to
  for (const server of nearestFirst(context)) {
    try {
      const fields = { from, to, maxBytes }
      const options = { timeoutMs: readTimeoutMs, signal }
      const reply = await callServer(context, server, verbs.read, fields, options)
      const items = itemsOf(list(reply, 'items'), from, to)
      const hole = items.findIndex(item => item.kind === 'gap' && item.gap === 'lost')
      if (hole !== 0 && items.length > 0) return hole < 0 ? items : items.slice(0, hole)
      const [first] = items
      if (first?.kind === 'gap') lostUpTo = Math.min(lostUpTo, first.to)
    } catch (error) {
      throwIfOver(context, signal)
      if (!lacks(error)) failures.push(`${server.node}: ${(error as Error).message}`)
    }
  }
  if (failures.length > 0) throw unreadable(context, from, failures)
  return [{ kind: 'gap', gap: 'lost', from: position(from), to: position(lostUpTo) }]
}

/** See the contract's `readSlices`. */
export async function readSlices(
  context: LogletContext,
  slices: readonly Slice[],
  signal?: AbortSignal,
): Promise<readonly SliceResult[]> {
  const results: SliceResult[] = slices.map(() => ({ gap: 'lost' }))
  let missing = slices.map((_, i) => i)
  const failures: string[] = []
  for (const server of nearestFirst(context)) {
    if (missing.length === 0) break
    try {
      const wanted = missing.map(i => slices[i] as Slice)
      const fields = { slices: wanted.map(s => [s.position, s.start, s.length]) }
      const options = { timeoutMs: readTimeoutMs, signal }
      const reply = await callServer(context, server, verbs.slices, fields, options)
      const found = slicesOf(list(reply, 'slices'))
      missing.forEach((i, n) => {
        results[i] = found[n] ?? { gap: 'lost' }
      })
      missing = missing.filter(i => isLost(results[i] as SliceResult))
    } catch (error) {
      throwIfOver(context, signal)
      if (error instanceof RemoteError && error.code === nativeErrors.outOfRange)
        throw new RangeError(error.message)
      if (!lacks(error)) failures.push(`${server.node}: ${(error as Error).message}`)
    }
  }
  if (missing.length > 0 && failures.length > 0)
    throw unreadable(context, (slices[missing[0] as number] as Slice).position, failures)
  return results
}

/** The server has no copy at all: it was never made there, is lost, or was removed with its segment. */
function lacks(error: unknown): boolean {
  return error instanceof RemoteError && error.code === nativeErrors.unknownLoglet
}

function nearestFirst({ placement, net }: LogletContext): readonly LogServerId[] {
  const { servers } = placement
  return [
    ...servers.filter(server => server.node === net.self),
    ...servers.filter(server => server.node !== net.self),
  ]
}

function isLost(result: SliceResult): boolean {
  return !(result instanceof Uint8Array) && result.gap === 'lost'
}

function throwIfOver({ closing }: LogletContext, signal: AbortSignal | undefined): void {
  signal?.throwIfAborted()
  closing.throwIfAborted()
}

function unreadable(
  context: LogletContext,
  at: number,
  failures: readonly string[],
): LogletUnavailableError {
  const { message } = unavailable(context, failures)
  return new LogletUnavailableError(`position ${at} cannot be read now: ${message}`)
}

// repair: brings what a majority of sealed servers has to the same end, past the seal bit. Several clients may do it at once.

import { LogletUnavailableError } from '../contract.ts'
import { itemsOf, list, type ReplicaState, verbs } from './messages.ts'
import { type Answer, callServer, type LogletContext } from './quorum.ts'

const chunkBytes = 1 << 20
const repairTimeoutMs = 5000

/** @returns the tail. @throws {LogletUnavailableError} when a server that is needed does not answer: ask again */
export async function repair(
  context: LogletContext,
  answers: readonly Answer<ReplicaState>[],
  signal?: AbortSignal,
): Promise<number> {
  const tail = Math.max(...answers.map(({ value }) => value.tail))
  // Below this everything is on a majority already, and a server that lacks it may go on lacking it.
  const known = Math.max(
    context.knownTail(),
    ...answers.map(({ value }) => Math.max(value.knownTail, value.trimmed)),
  )
  await Promise.all(
    answers
      .filter(({ value }) => value.tail < tail)
      .map(answer => bring(context, answer, answers, { known, tail }, signal)),
  )
  return tail
}

async function bring(
  context: LogletContext,
  target: Answer<ReplicaState>,
  answers: readonly Answer<ReplicaState>[],
  { known, tail }: { readonly known: number; readonly tail: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  const options = { timeoutMs: repairTimeoutMs, signal }
  const from = Math.max(target.value.tail, Math.min(known, tail))
  const send = async (at: number, entries: readonly (readonly Uint8Array[])[]): Promise<void> => {
    const fields = { incarnation: context.placement.sequencer.incarnation, at, entries }
    const request = { ...fields, repair: true, knownTail: known }
    const { status } = await callServer(context, target.server, verbs.store, request, options)
    if (status !== 'stored')
      throw new LogletUnavailableError(
        `${target.server.node} does not take the repair of loglet ${context.id}: ${JSON.stringify(status)}`,
      )
  }
  if (from >= tail) {
    await send(tail, [])
    return
  }
  for (let at = from; at < tail; ) {
    const entries = await fetch(context, answers, at, tail, signal)
    await send(at, entries)
    at += entries.length
  }
}

/** Entries from `at` on, from a server that has them. */
async function fetch(
  context: LogletContext,
  answers: readonly Answer<ReplicaState>[],
  at: number,
  tail: number,
  signal: AbortSignal | undefined,
): Promise<readonly (readonly Uint8Array[])[]> {
  let failure: unknown
  for (const { server, value } of answers) {
    if (value.tail <= at) continue
    const range = { from: at, to: Math.min(tail, value.tail), maxBytes: chunkBytes }
    const options = { timeoutMs: repairTimeoutMs, signal }
    try {
      const reply = await callServer(context, server, verbs.read, range, options)
      const items = itemsOf(list(reply, 'items'), at, range.to)
      const gap = items.findIndex(item => item.kind === 'gap')
      const whole = gap < 0 ? items : items.slice(0, gap)
      if (whole.length > 0) return whole.map(item => (item.kind === 'entry' ? [item.bytes] : []))
    } catch (error) {
      failure = error
    }
  }
  throw new LogletUnavailableError(
    `position ${at} of loglet ${context.id} cannot be read from any server that answered`,
    failure,
  )
}

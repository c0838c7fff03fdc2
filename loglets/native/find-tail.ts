// checkTail: the five cases of the paper (delos.md 1.5).
//
//   answers of a majority                  then
//   all sealed, one local tail             that is the tail
//   all sealed, tails differ               repair up to the highest, which is the tail
//   some sealed                            finish the seal; its answers are those of a sealed majority
//   none sealed, one local tail            that is the tail, open
//   none sealed, tails differ              X = the highest: wait until X is known to be committed, or a seal shows
//
// Why the highest sealed tail is enough: an acked entry lies on a majority, and each of these stored it before its own seal; any majority of
// sealed servers shares one with them. What lies above the acked ones may or may not be found: the first tail in the chain decides.

import { LogletUnavailableError, position, type TailState } from '../contract.ts'
import { majority } from '../majority.ts'
import { type ReplicaState, stateOf, verbs } from './messages.ts'
import { type Answer, ask, type LogletContext } from './quorum.ts'
import { repair } from './repair.ts'
import { seal } from './seal.ts'

const askTimeoutMs = 1000
/** Uneven tails that do not move for this long: the sequencer is gone, and only a seal can tell what was committed. */
const stalledMs = 1000
const againMsMin = 1
const againMsMax = 50

/** @throws {LogletUnavailableError} when a majority does not answer, or the open tail cannot be told from what answers */
export async function findTail(context: LogletContext, signal?: AbortSignal): Promise<TailState> {
  const { clock, random } = context
  let goal: number | undefined
  const seen = new Map<string, number>()
  let movedAt = clock.now()
  for (let againMs = againMsMin; ; againMs = Math.min(againMs * 2, againMsMax)) {
    const options = { timeoutMs: askTimeoutMs, signal }
    const answers = await ask(context, verbs.tail, {}, stateOf, options)
    const sealed = answers.filter(answer => answer.value.sealed).length
    if (sealed === answers.length)
      return { tail: position(await repair(context, answers, signal)), sealed: true }
    if (sealed > 0)
      // By those who sealed: a server that cannot, because its disk is full, may be the first to answer every time.
      return {
        tail: position(await repair(context, await seal(context, signal), signal)),
        sealed: true,
      }
    // The goal is fixed by the first round: what was acked before the call lies below it.
    goal ??= Math.max(...answers.map(answer => answer.value.tail))
    if (isCommitted(context, answers, goal)) return { tail: position(goal), sealed: false }
    if (hasMoved(seen, answers)) movedAt = clock.now()
    else if (clock.now() - movedAt > stalledMs)
      throw new LogletUnavailableError(
        `the log servers of loglet ${context.id} end at different positions up to ${goal}, and nothing moves: its sequencer seems to be gone`,
      )
    await clock.sleep(againMs * (0.5 + random.next()), signal ?? context.closing)
  }
}

/** Everything below `goal` is on a majority, or was known to be. */
function isCommitted(
  { placement }: LogletContext,
  answers: readonly Answer<ReplicaState>[],
  goal: number,
): boolean {
  if (answers.some(({ value }) => value.knownTail >= goal)) return true
  return (
    answers.filter(({ value }) => value.tail >= goal).length >= majority(placement.servers.length)
  )
}

/** Whether a server says more than it did before. Each is compared with itself: it need not be the same majority that answers. */
function hasMoved(seen: Map<string, number>, answers: readonly Answer<ReplicaState>[]): boolean {
  let moved = false
  for (const { server, value } of answers) {
    const progress = value.tail + value.knownTail
    if (progress <= (seen.get(server.store) ?? -1)) continue
    seen.set(server.store, progress)
    moved = true
  }
  return moved
}

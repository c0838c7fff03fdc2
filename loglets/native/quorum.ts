// Asking the log servers of one loglet, all at once, until enough of them have answered.

import { LogletUnavailableError } from '../contract.ts'
import { majority } from '../majority.ts'
import type { Message, Net } from '../net.ts'
import type { Clock, Random } from '../ports.ts'
import { type LogServerId, type NativePlacement } from './placement.ts'

/** What the steps of the protocol share: one loglet as one client sees it. */
export interface LogletContext {
  readonly id: string
  readonly placement: NativePlacement
  readonly net: Net
  readonly clock: Clock
  readonly random: Random
  /** Lower bound on the global tail that this client knows. */
  readonly knownTail: () => number
  /** Aborted when the loglet is closed. */
  readonly closing: AbortSignal
}

export interface Answer<T> {
  readonly server: LogServerId
  readonly value: T
}

export interface AskOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Answers to wait for; a majority without it. */
  readonly answers?: number
  /** After enough answers: how long the others are waited for, ms. */
  readonly graceMs?: number
}

/** A request to one server. */
export function callServer(
  { id, net, knownTail, closing }: LogletContext,
  { node, store }: LogServerId,
  verb: string,
  fields: Message,
  { timeoutMs, signal = closing }: Pick<AskOptions, 'timeoutMs' | 'signal'>,
): Promise<Message> {
  return net.call(
    node,
    verb,
    { id, store, knownTail: knownTail(), ...fields },
    { timeoutMs, signal },
  )
}

/**
 * Resolves with the answers of a majority, or of as many as asked for. Errors, "unknown loglet" among them, count for nothing.
 * @throws {LogletUnavailableError} once too many have failed, or the signal's reason
 */
export async function ask<T>(
  context: LogletContext,
  verb: string,
  fields: Message,
  read: (reply: Message) => T,
  options: AskOptions,
): Promise<readonly Answer<T>[]> {
  const { servers } = context.placement
  const wanted = options.answers ?? majority(context.placement.servers.length)
  const answers: Answer<T>[] = []
  const failures: string[] = []
  const { signal = context.closing } = options
  await new Promise<void>((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error)
      return
    }
    const stop = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', stop, { once: true })
    const done = (settle: () => void): void => {
      signal.removeEventListener('abort', stop)
      settle()
    }
    const settled = (): void => {
      const open = servers.length - answers.length - failures.length
      if (answers.length >= wanted) {
        if (open === 0 || options.graceMs === undefined) done(resolve)
        else if (answers.length === wanted)
          context.clock.sleep(options.graceMs, signal).then(
            () => done(resolve),
            () => {},
          )
      } else if (answers.length + open < wanted) done(() => reject(unavailable(context, failures)))
    }
    for (const server of servers)
      callServer(context, server, verb, fields, options).then(
        reply => {
          try {
            answers.push({ server, value: read(reply) })
          } catch (error) {
            failures.push(`${server.node}: ${(error as Error).message}`)
          }
          settled()
        },
        error => {
          failures.push(`${server.node}: ${(error as Error).message}`)
          settled()
        },
      )
  })
  // Later answers are nobody's business any more.
  return [...answers]
}

export function unavailable(
  { id, placement }: LogletContext,
  failures: readonly string[],
): LogletUnavailableError {
  return new LogletUnavailableError(
    `too few log servers of loglet ${id} answer (${majority(placement.servers.length)} of ${placement.servers.length} are needed): ${failures.join('; ')}`,
  )
}

// Requests that one HTTP connection sends without waiting for answers (RFC 9112, 9.3.2): node hands out every one of them at once, however many wait. Each of
// those that have to say who they are waits for its answer (guess-brake.ts), so a stranger could make one connection hold any number.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Without an answer on one connection; the connection that has more is cut. */
export const pipelinedRequestsMax = 16

export class Pipelining {
  private readonly unanswered = new WeakMap<Socket, number>()

  /** Counts a request until it is answered. @returns false when it is one too many: its connection is gone */
  enter({ socket }: IncomingMessage, response: ServerResponse): boolean {
    const count = (this.unanswered.get(socket) ?? 0) + 1
    if (count > pipelinedRequestsMax) {
      socket.destroy()
      return false
    }
    this.unanswered.set(socket, count)
    response.once('close', () =>
      this.unanswered.set(socket, (this.unanswered.get(socket) ?? 1) - 1),
    )
    return true
  }
}

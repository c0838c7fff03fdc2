// A Net inside one process that loses nothing: every call reaches its handler in a later turn. Nodes can be taken off and put back.

import {
  type CallOptions,
  type Handler,
  type Message,
  type Net,
  NetError,
  type NodeId,
  RemoteError,
} from '../../../loglets/net.ts'

export class LocalNet {
  private readonly handlers = new Map<NodeId, Map<string, Handler>>()
  private readonly down = new Set<NodeId>()
  private readonly hung = new Set<NodeId>()

  /** Calls of this node fail, and it fails to call. */
  cut(node: NodeId): void {
    this.down.add(node)
  }

  /** Calls of this node are taken and never answered. */
  hang(node: NodeId): void {
    this.hung.add(node)
  }

  heal(node: NodeId): void {
    this.down.delete(node)
  }

  endpoint(self: NodeId): Net {
    const own = new Map<string, Handler>()
    this.handlers.set(self, own)
    return {
      self,
      call: (to, verb, request, options) => this.call(self, to, verb, request, options),
      handle: (verb, handler) => {
        own.set(verb, handler)
        return () => {
          if (own.get(verb) === handler) own.delete(verb)
        }
      },
    }
  }

  private async call(
    from: NodeId,
    to: NodeId,
    verb: string,
    request: Message,
    { signal }: CallOptions,
  ): Promise<Message> {
    await Promise.resolve()
    signal?.throwIfAborted()
    const handler = this.handlers.get(to)?.get(verb)
    if (handler === undefined || (from !== to && (this.down.has(to) || this.down.has(from))))
      throw new NetError('UNREACHABLE', `${to} does not serve ${verb}`)
    if (from !== to && this.hung.has(to)) return new Promise(() => {})
    const reply = handler(from, request).catch(error => {
      const { code = 'INTERNAL', message } = error as { code?: string; message: string }
      throw new RemoteError(to, code, message)
    })
    if (signal === undefined) return reply
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(signal.reason as Error)
      signal.addEventListener('abort', stop, { once: true })
      reply.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop))
    })
  }
}

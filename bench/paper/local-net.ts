// The nodes of a cluster in one process: calls between them take a turn of the event loop each way, and their disks are real. For comparing
// protocols without the noise of more processes than the machine has cores.

import {
  type CallOptions,
  type Handler,
  type Message,
  type Net,
  NetError,
  type NodeId,
  RemoteError,
} from '../../loglets/net.ts'

type Handlers = Map<string, Handler>

const turn = (): Promise<void> => new Promise(done => setImmediate(done))

/** The nets of the nodes, in their order. */
export function localNets(nodes: readonly NodeId[]): readonly Net[] {
  const all = new Map<NodeId, Handlers>(nodes.map(node => [node, new Map()]))
  return nodes.map(self => ({
    self,
    call: (to, verb, request, options) => call(all, self, to, verb, request, options),
    handle: (verb, handler) => {
      all.get(self)?.set(verb, handler)
      return () => all.get(self)?.delete(verb)
    },
  }))
}

async function call(
  all: ReadonlyMap<NodeId, Handlers>,
  self: NodeId,
  to: NodeId,
  verb: string,
  request: Message,
  { signal, timeoutMs }: CallOptions,
): Promise<Message> {
  signal?.throwIfAborted()
  const handler = all.get(to)?.get(verb)
  if (handler === undefined) throw new NetError('UNREACHABLE', `${to} does not serve ${verb}`)
  let timer: ReturnType<typeof setTimeout> | undefined
  let onAbort: (() => void) | undefined
  const cut = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new NetError('TIMEOUT', `${to} ${verb}`)), timeoutMs)
    onAbort = () => reject(signal?.reason as Error)
    signal?.addEventListener('abort', onAbort)
  })
  try {
    return await Promise.race([serve(handler, self, to, request), cut])
  } finally {
    clearTimeout(timer)
    if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort)
  }
}

async function serve(
  handler: Handler,
  self: NodeId,
  to: NodeId,
  request: Message,
): Promise<Message> {
  await turn()
  try {
    const reply = await handler(self, request)
    await turn()
    return reply
  } catch (error) {
    const { code = 'INTERNAL', message } = error as { code?: string; message: string }
    throw new RemoteError(to, code, message)
  }
}

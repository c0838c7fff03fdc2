// Requests: mutated frames at a real broker in memory, through the gateway's connection, so that every operation reads what it is given.
//
// Rules: nothing fails inside the broker (INTERNAL, an exception, a rejection that nobody takes); a request is answered once, with a code that
// docs/errors.md lists when it is refused; a frame that is none closes its connection and nothing else.

import { Gateway } from '../../../broker/gateway/gateway.ts'
import { operations } from '../../../broker/gateway/operations.ts'
import { GatewayStats } from '../../../broker/gateway/stats.ts'
import { openAuthenticator } from '../../../broker/security/open-security.ts'
import { resolveSettings } from '../../../broker/settings.ts'
import { type RunningBroker, startBroker } from '../../../broker/start-broker.ts'
import { encodeBatch } from '../../../wire/batch.ts'
import { errorTable } from '../../../wire/errors.ts'
import { packFrame, unpackFrame } from '../../../wire/frame.ts'
import { wireLimits } from '../../../wire/limits.ts'
import { FakeSocket } from '../fake-socket.ts'
import { FuzzRandom } from '../random.ts'
import { requestFrom } from '../request-maker.ts'
import { Finding, must, type Target } from '../target.ts'
import { WorldHolder } from '../world-holder.ts'

/** A switch costs as much as thousands of other requests. */
const costly = ['switchLog', 'sealLog', 'trimLog', 'verifyLog']
const removing = ['deleteTopic', 'deleteGroup', 'deleteRecords', 'resetOffsets']
const often = [...operations.keys()].filter(name => ![...costly, ...removing].includes(name))
const seedRandom = new FuzzRandom(1)
const replyLimits = { elementsMax: wireLimits.replyElementsMax }
/** The broker's state grows with every topic and group: it begins anew. */
const perBroker = 30_000
const waitMs = 10_000
const waitingMax = 200
const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

const holder = new WorldHolder(() => World.open(), perBroker)

export const requests: Target = {
  name: 'requests',
  bytesMax: 8192,
  seeds: () => [
    ...Array.from({ length: 200 }, () => requestFrom(seedRandom, often).slice()),
    packFrame({ op: 'produce', id: 1, topic: 't', partition: 0, batch: new Uint8Array(64) }),
    packFrame({ op: 'credit', sub: 1, bytes: 5 }),
    packFrame({ op: 'hello', id: 1, protocol: 1, client: 'again' }),
    packFrame({
      op: 'createTopic',
      id: 1,
      topic: 'compacted',
      config: { 'cleanup.policy': 'compact' },
    }),
  ],
  generate: random =>
    requestFrom(random, random.oneIn(4000) ? costly : random.oneIn(200) ? removing : often),
  ...holder.target(world => world.checkWaiting()),
}

process.on('unhandledRejection', error => {
  throw new Finding(`a rejection that nobody takes: ${String(error)}`, { cause: error })
})

class World {
  private readonly running: RunningBroker
  private readonly gateway: Gateway
  private socket: FakeSocket | undefined
  private fault: Error | undefined
  /** Requests without an answer as yet. */
  private readonly waiting = new Map<
    number,
    { readonly bytes: Uint8Array; readonly since: number }
  >()
  private refused = false
  /** What the broker says that failed inside. */
  private inside: unknown

  private constructor(running: RunningBroker) {
    const settings = resolveSettings({
      flags: { loglet: 'memory', numPartitions: 3, groupSweepIntervalMs: 20 },
    })
    this.running = running
    const logger = {
      info: () => {},
      warn: () => {},
      error: (facts: object) => {
        this.inside = facts
        this.fault = new Finding(`failed inside: ${JSON.stringify(facts)}`)
      },
    }
    this.gateway = new Gateway({
      broker: running.broker,
      settings,
      version: '0',
      serverId: 'fuzz',
      logger,
      metrics: () => Promise.resolve({ contentType: '', text: '' }),
      stats: new GatewayStats(settings.metricsTopicsMax),
      authenticator: openAuthenticator({
        settings,
        cluster: undefined,
        directory: undefined,
        keys: running.broker.security,
        fresh: () => running.broker.sync(),
        logger,
      }),
    })
  }

  static async open(): Promise<World> {
    const running = await startBroker({
      loglet: 'memory',
      port: 0,
      memoryLogletBytesMax: 64 << 20,
    })
    const world = new World(running)
    const batch = encodeBatch([{ key: 'k', value: 'v' }], { now: 1 })
    for (const [n, frame] of [
      { op: 'createTopic', topic: 't', partitions: 3 },
      { op: 'createTopic', topic: 'compacted', config: { 'cleanup.policy': 'compact' } },
      { op: 'createTopic', topic: 'u', partitions: 1 },
      { op: 'produce', topic: 't', partition: 0, batch },
      { op: 'initProducer' },
      { op: 'openShareGroup', group: 's', topics: ['t'], autoOffsetReset: 'earliest' },
      { op: 'joinGroup', group: 'g', memberId: 'm', topics: ['t', 'u'] },
    ].entries())
      if (!(await world.give(packFrame({ ...frame, id: n + 1 }))))
        throw new Error(`the world does not begin: ${frame.op} is refused`)
    return world
  }

  /** Gives a request its turn; one that waits for something is looked at later. False: it was refused at once. */
  async give(bytes: Uint8Array): Promise<boolean> {
    const socket = this.open()
    this.refused = false
    const id = idOf(bytes)
    if (id !== undefined) this.waiting.set(id, { bytes, since: performance.now() })
    socket.onMessage(bytes)
    for (let turn = 0; turn < 2 || this.waiting.size > waitingMax; turn++) await nextTurn()
    if (this.fault !== undefined) {
      const { fault } = this
      this.fault = undefined
      throw fault
    }
    return !this.refused && !socket.isClosed
  }

  /** @throws a finding when a request waits for too long */
  checkWaiting(): void {
    const now = performance.now()
    for (const [id, { bytes, since }] of this.waiting) {
      if (now - since < waitMs) continue
      this.waiting.delete(id)
      throw new Finding('a request is not answered', { input: bytes })
    }
  }

  private open(): FakeSocket {
    if (this.socket !== undefined && !this.socket.isClosed) return this.socket
    const socket = new FakeSocket(bytes => this.receive(bytes))
    this.socket = socket
    // As from the upgrade of an HTTP request.
    ;(this.gateway as unknown as { accept(made: FakeSocket, request: object): void }).accept(
      socket,
      { headers: {}, url: '/', socket: {} },
    )
    this.waiting.clear()
    socket.onMessage(packFrame({ op: 'hello', id: 0, protocol: 1, client: 'fuzz' }))
    return socket
  }

  private receive(bytes: Uint8Array): void {
    const { id, op, error } = unpackFrame(bytes, replyLimits)
    const input = typeof id === 'number' ? this.waiting.get(id)?.bytes : undefined
    if (error !== undefined) {
      this.refused = true
      const { code, message } = error as { code: string; message: string }
      if (!Object.hasOwn(errorTable, code))
        this.fault = new Finding(`code ${code} is not listed`, { input })
      if (code === 'INTERNAL')
        this.fault = new Finding(`${message}: ${JSON.stringify(this.inside)}`, {
          input,
          cause: this.inside,
        })
    }
    if (typeof id === 'number') this.waiting.delete(id)
    else must(op !== undefined || error !== undefined, 'a frame that is neither a reply nor a push')
  }

  async close(): Promise<void> {
    await this.gateway.drain(0)
    await this.running.close()
  }
}

/** Of a request that will be answered: undefined for what is none, and for what answers nothing. */
function idOf(bytes: Uint8Array): number | undefined {
  try {
    const { id, op, acks } = unpackFrame(bytes)
    const isSilent = op === 'credit' || ((op === 'produce' || op === 'publish') && acks === 0)
    if (isSilent || typeof id !== 'number' || !Number.isSafeInteger(id) || id < 1) return undefined
    return id
  } catch {
    return undefined
  }
}

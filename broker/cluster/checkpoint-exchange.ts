// Checkpoints between nodes (DESIGN 5.2): below the trim point of the log the state is the only copy, so a trim waits until enough nodes have a
// checkpoint past it, and a node whose state ends before the trim point gets one from another.
//
//   state.make   { past, wait? } → { applied }          the node makes a checkpoint unless it has one at or past `past`; with `wait` false
//                                                       only if its state is that far
//   state.list   {}              → { checkpoints }      applied positions, newest last
//   state.read   { applied, at } → { bytes, size }      a piece of the file
//
// What is fetched is verified before it gets its name, and again when it is used.

import type { Message, Net, NodeId } from '../../loglets/net.ts'
import type { Disk } from '../../loglets/ports.ts'
import { LogloomError } from '../../wire/errors.ts'
import { checkpointName, checkpointsIn, isCheckpoint } from '../state/checkpoint.ts'

const verbs = { make: 'state.make', list: 'state.list', read: 'state.read' } as const
const pieceBytes = 1 << 20
const makeTimeoutMs = 60_000
const callTimeoutMs = 10_000

export interface CheckpointExchangeOptions {
  readonly net: Net
  readonly disk: Disk
  readonly dir: string
  /** Nodes that are up, this one left out. */
  readonly others: () => readonly NodeId[]
  /** Nodes, this one included, that need a checkpoint before the log may be trimmed. */
  readonly copiesNeeded: () => number
}

export class CheckpointExchange {
  private readonly options: CheckpointExchangeOptions
  private readonly stops: (() => void)[]

  constructor(options: CheckpointExchangeOptions) {
    this.options = options
    const { net } = options
    this.stops = [
      net.handle(verbs.list, async () => ({ checkpoints: [...(await this.own())] })),
      net.handle(verbs.read, (_, request) => this.serve(request)),
    ]
  }

  /**
   * From now on others may ask for a checkpoint of this node's state. `make` resolves with its applied position, once that has reached `past`;
   * `applied` is where the state is now.
   */
  offer(make: (past: number) => Promise<number>, applied: () => number): void {
    const { net } = this.options
    this.stops.push(
      net.handle(verbs.make, async (_, { past, wait }) => {
        const newest = (await this.own()).at(-1) ?? -1
        if (newest >= Number(past)) return { applied: newest }
        if (wait === false && applied() < Number(past)) return { applied: -1 }
        return { applied: await make(Number(past)) }
      }),
    )
  }

  /** Has another node whose state is at or past `past` by now make a checkpoint. @returns its position, undefined when there is none */
  async ahead(past: number): Promise<number | undefined> {
    const { net } = this.options
    return this.firstOf(async node => {
      const options = { timeoutMs: makeTimeoutMs }
      const made = await net.call(node, verbs.make, { past, wait: false }, options)
      return Number(made.applied) >= past ? Number(made.applied) : undefined
    })
  }

  /** Resolves once enough other nodes have a checkpoint at or past `past`. @throws THROTTLED when too few can */
  async spread(past: number): Promise<void> {
    const { net, others } = this.options
    const copiesNeeded = this.options.copiesNeeded()
    const options = { timeoutMs: makeTimeoutMs }
    const made = await Promise.allSettled(
      others().map(async node =>
        Number((await net.call(node, verbs.make, { past }, options)).applied),
      ),
    )
    const copies = 1 + made.filter(r => r.status === 'fulfilled' && r.value >= past).length
    if (copies < copiesNeeded)
      throw new LogloomError(
        'THROTTLED',
        `the log is trimmed only when ${copiesNeeded} nodes have a checkpoint past position ${past}, ${copies} have: the others are away or behind`,
        { limit: copiesNeeded, actual: copies },
      )
  }

  /** Brings a checkpoint at or past `past` into the directory, if another node has one. @returns its position */
  async fetch(past: number): Promise<number | undefined> {
    const { net } = this.options
    return this.firstOf(async node => {
      const { checkpoints } = await net.call(node, verbs.list, {}, { timeoutMs: callTimeoutMs })
      const newest = Array.isArray(checkpoints) ? Number(checkpoints.at(-1) ?? -1) : -1
      return newest >= past && (await this.download(node, newest)) ? newest : undefined
    })
  }

  close(): void {
    for (const stop of this.stops) stop()
  }

  /** Asks the others, one after the other; one that fails is passed over, since the next may have it. */
  private async firstOf(
    ask: (node: NodeId) => Promise<number | undefined>,
  ): Promise<number | undefined> {
    for (const node of this.options.others()) {
      const found = await ask(node).catch(() => undefined)
      if (found !== undefined) return found
    }
    return undefined
  }

  private own(): Promise<readonly number[]> {
    return checkpointsIn(this.options.disk, this.options.dir)
  }

  private async serve({ applied, at }: Message): Promise<Message> {
    const { disk, dir } = this.options
    const file = await disk.open(`${dir}/${checkpointName(Number(applied))}`)
    try {
      return { bytes: await file.read(Number(at), pieceBytes), size: await file.size() }
    } finally {
      await file.close()
    }
  }

  private async download(node: NodeId, applied: number): Promise<boolean> {
    const { net, disk, dir } = this.options
    const name = checkpointName(applied)
    const temporary = `${dir}/${name}.tmp`
    await disk.mkdir(dir)
    await disk.remove(temporary)
    const file = await disk.open(temporary, { create: true })
    try {
      for (let at = 0, size = 1; at < size; ) {
        const options = { timeoutMs: callTimeoutMs }
        const reply = await net.call(node, verbs.read, { applied, at }, options)
        if (!(reply.bytes instanceof Uint8Array) || reply.bytes.length === 0) return false
        await file.write([reply.bytes], at)
        at += reply.bytes.length
        size = Number(reply.size)
      }
      await file.datasync()
    } finally {
      await file.close()
    }
    if (!(await isCheckpoint(disk, temporary, applied))) return false
    await disk.rename(temporary, `${dir}/${name}`)
    await disk.syncDir(dir)
    return true
  }
}

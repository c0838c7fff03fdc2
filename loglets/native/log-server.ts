// The log server of a node: all replicas that it holds, served by the verbs of messages.ts. Converged (inside a broker's process) or alone.
//
//   <root>/<id>/replica.json   {"format":1,"placement"} or {"format":1,"removed":true}     beside the replica's segment files
//
// A replica is made once, by an explicit create; afterwards a missing one is unknown, which counts in no quorum. A removed one leaves a
// tombstone: a late create of the same id must not bring back an empty replica without a seal.

import { setMaxListeners } from 'node:events'
import type { Slice } from '../contract.ts'
import { LogletExistsError, LogletLostError, type LogletParams, position } from '../contract.ts'
import type { FileLogletProvider } from '../file/file-provider.ts'
import { makeDir, readFile, replaceFile } from '../metastore/atomic-file.ts'
import type { Message, Net } from '../net.ts'
import type { Clock, Disk } from '../ports.ts'
import {
  count,
  entryOf,
  itemsMessage,
  list,
  NativeError,
  nativeErrors,
  slicesMessage,
  stateMessage,
  text,
  verbs,
} from './messages.ts'
import { decodePlacement } from './placement.ts'
import { Replica } from './replica.ts'

export interface LogServerOptions {
  readonly net: Net
  readonly disk: Disk
  readonly clock: Clock
  /** Names the data directory; see placement.ts. */
  readonly store: string
  /** Directory of the replicas, the same that `files` has. */
  readonly root: string
  /** Makes and opens the segment files. */
  readonly files: FileLogletProvider
}

interface Note {
  readonly placement?: string
  readonly options?: Readonly<Record<string, string>>
  readonly removed?: boolean
}

const format = 1
const noteName = 'replica.json'
const waitMsMax = 5000
const idPattern = /^[a-z0-9][a-z0-9.-]{0,39}$/

export class LogServer {
  private readonly options: LogServerOptions
  private readonly replicas = new Map<string, Promise<Replica>>()
  private readonly closing = new AbortController()
  private readonly stops: readonly (() => void)[]
  /** Creates and removes of one id, one after the other. */
  private readonly turns = new Map<string, Promise<unknown>>()

  constructor(options: LogServerOptions) {
    this.options = options
    // One listener per long poll.
    setMaxListeners(0, this.closing.signal)
    const serve = (verb: string, handle: (request: Message) => Promise<Message>): (() => void) =>
      options.net.handle(verb, async (_, request) => handle(request))
    this.stops = [
      serve(verbs.create, request => this.create(request)),
      serve(verbs.store, request => this.storeEntries(request)),
      serve(verbs.seal, request => this.seal(request)),
      serve(verbs.tail, async request => stateMessage((await this.replica(request)).state)),
      serve(verbs.wait, request => this.wait(request)),
      serve(verbs.read, request => this.read(request)),
      serve(verbs.slices, request => this.slices(request)),
      serve(verbs.trim, async request =>
        stateMessage(await (await this.replica(request)).trim(count(request, 'before'))),
      ),
      serve(verbs.remove, request => this.remove(request)),
    ]
  }

  /** Stops serving and closes every replica. */
  async close(): Promise<void> {
    for (const stop of this.stops) stop()
    this.closing.abort()
    await Promise.allSettled(this.turns.values())
    await Promise.allSettled([...this.replicas.values()].map(async r => (await r).close()))
  }

  private async create(request: Message): Promise<Message> {
    const id = this.idOf(request)
    return this.inTurn(id, async () => {
      const note = await this.readNote(id)
      if (note?.removed === true)
        throw new NativeError(nativeErrors.unknownLoglet, `loglet ${id} was removed`)
      if (note === undefined) await this.make(id, request)
      return stateMessage((await this.open(id)).state)
    })
  }

  private async seal(request: Message): Promise<Message> {
    const id = this.idOf(request)
    if (!this.replicas.has(id) && (await this.readNote(id)) === undefined)
      await this.create({ ...request, options: {} })
    return stateMessage(await (await this.replica(request)).seal())
  }

  private async make(id: string, request: Message): Promise<void> {
    const { files, disk, root } = this.options
    const placement = text(request, 'placement')
    decodePlacement(placement)
    const options = request.options as Readonly<Record<string, string>>
    const params: LogletParams = { kind: 'file', options }
    let loglet: Awaited<ReturnType<FileLogletProvider['create']>>
    try {
      loglet = await files.create(id, params)
    } catch (error) {
      if (!(error instanceof LogletExistsError)) throw error
      // Half made: nobody was told of it, so nothing is in it.
      await files.remove(id)
      loglet = await files.create(id, params)
    }
    await replaceFile(disk, `${root}/${id}`, noteName, encodeNote({ placement, options }))
    const { incarnation } = decodePlacement(placement).sequencer
    this.replicas.set(id, Replica.over(loglet, incarnation))
  }

  private async storeEntries(request: Message): Promise<Message> {
    const replica = await this.replica(request)
    const status = await replica.store({
      incarnation: text(request, 'incarnation'),
      at: count(request, 'at'),
      entries: list(request, 'entries').map(entryOf),
      repair: request.repair === true,
    })
    return { status, ...stateMessage(replica.state) }
  }

  private async wait(request: Message): Promise<Message> {
    const replica = await this.replica(request)
    const which = request.known === undefined ? 'local' : 'known'
    const beyond = count(request, which)
    const over = new AbortController()
    const stop = (): void => over.abort()
    this.closing.signal.addEventListener('abort', stop, { once: true })
    const timeoutMs = Math.min(count(request, 'timeoutMs'), waitMsMax)
    this.options.clock.sleep(timeoutMs, over.signal).then(stop, () => {})
    try {
      return stateMessage(await replica.wait(which, beyond, over.signal))
    } finally {
      this.closing.signal.removeEventListener('abort', stop)
      over.abort()
    }
  }

  private async read(request: Message): Promise<Message> {
    const replica = await this.replica(request)
    const items = await replica.read(
      count(request, 'from'),
      count(request, 'to'),
      count(request, 'maxBytes'),
    )
    return { items: itemsMessage(items), ...stateMessage(replica.state) }
  }

  private async slices(request: Message): Promise<Message> {
    const replica = await this.replica(request)
    const slices = list(request, 'slices').map((value): Slice => {
      const [at, start, length] = value as readonly number[]
      return { position: position(at ?? 0), start: start ?? 0, length: length ?? 0 }
    })
    try {
      return { slices: slicesMessage(await replica.readSlices(slices)) }
    } catch (error) {
      if (error instanceof RangeError) throw new NativeError(nativeErrors.outOfRange, error.message)
      throw error
    }
  }

  private remove(request: Message): Promise<Message> {
    const id = this.idOf(request)
    return this.inTurn(id, async () => {
      const { disk, root, files } = this.options
      const note = await this.readNote(id)
      if (note?.removed === true) return {}
      const open = this.replicas.get(id)
      this.replicas.delete(id)
      await open?.then(replica => replica.close()).catch(() => {})
      // The tombstone first: a crash in between leaves files that nobody opens any more.
      await makeDir(disk, `${root}/${id}`)
      await replaceFile(disk, `${root}/${id}`, noteName, encodeNote({ removed: true }))
      await files.clear(id, noteName)
      return {}
    })
  }

  /** The replica that a request is about, with its news heard. */
  private async replica(request: Message): Promise<Replica> {
    const id = this.idOf(request)
    await this.turns.get(id)
    const replica = await this.open(id)
    if (request.knownTail !== undefined) replica.hear(count(request, 'knownTail'))
    return replica
  }

  private open(id: string): Promise<Replica> {
    let replica = this.replicas.get(id)
    if (replica === undefined) {
      replica = this.load(id)
      this.replicas.set(id, replica)
      replica.catch(() => {
        if (this.replicas.get(id) === replica) this.replicas.delete(id)
      })
    }
    return replica
  }

  private async load(id: string): Promise<Replica> {
    const note = await this.readNote(id)
    if (note?.placement === undefined)
      throw new NativeError(nativeErrors.unknownLoglet, `there is no loglet ${id} here`)
    try {
      const loglet = await this.options.files.open(id, {
        kind: 'file',
        options: note.options ?? {},
      })
      return await Replica.over(loglet, decodePlacement(note.placement).sequencer.incarnation)
    } catch (error) {
      if (error instanceof LogletLostError)
        throw new NativeError(nativeErrors.unknownLoglet, error.message)
      throw error
    }
  }

  /** @throws {NativeError} when the request is for another data directory, or its id is none */
  private idOf(request: Message): string {
    const id = text(request, 'id')
    if (!idPattern.test(id)) throw new NativeError('INVALID_REQUEST', 'the id of a loglet is none')
    if (this.closing.signal.aborted)
      throw new NativeError(nativeErrors.closing, 'the log server is closing')
    if (text(request, 'store') !== this.options.store)
      throw new NativeError(
        nativeErrors.unknownLoglet,
        `the data directory here is ${this.options.store}, not ${text(request, 'store')}`,
      )
    return id
  }

  private async readNote(id: string): Promise<Note | undefined> {
    const { disk, root } = this.options
    const bytes = await readFile(disk, `${root}/${id}/${noteName}`)
    if (bytes === undefined) return undefined
    const { format: found, ...note } = JSON.parse(new TextDecoder().decode(bytes)) as Note & {
      format: number
    }
    if (found !== format)
      throw new NativeError(
        nativeErrors.unknownLoglet,
        `${root}/${id}/${noteName} has format ${found}, this version reads ${format}`,
      )
    return note
  }

  private inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const done = (this.turns.get(id) ?? Promise.resolve()).catch(() => {}).then(work)
    const settled = done.then(
      () => {},
      () => {},
    )
    this.turns.set(id, settled)
    void settled.then(() => {
      if (this.turns.get(id) === settled) this.turns.delete(id)
    })
    return done
  }
}

function encodeNote(note: Note): readonly Uint8Array[] {
  return [new TextEncoder().encode(JSON.stringify({ format, ...note }))]
}

// One node's part in the register: promises and acceptances for the instance after the last decided one, durable before every answer.
//
//   <dir>/acceptor   JSON {"format":1,"store","decided","promised","accepted"}, values in base64       replaced as a whole
//
// Older instances need not be kept: whoever asks about one learns what was decided since. A request carries the record that was decided
// before its instance, so that an acceptor that was away catches up by being asked.

import type { Message, Net } from '../../net.ts'
import type { Disk } from '../../ports.ts'
import { makeDir, readFile, replaceFile } from '../atomic-file.ts'
import { MetaStoreCorruptError } from '../metastore.ts'
import {
  type Ballot,
  ballotMessage,
  ballotOf,
  ForeignRegisterError,
  isBelow,
  isSameRegister,
  noBallot,
  recordMessage,
  recordOf,
  type RegisterMember,
  type RegisterRecord,
} from './record.ts'

export const registerVerbs = {
  read: 'register.read',
  prepare: 'register.prepare',
  accept: 'register.accept',
  learn: 'register.learn',
} as const

export interface AcceptorOptions {
  readonly net: Net
  readonly disk: Disk
  /** Made when it does not exist. */
  readonly dir: string
  /** Names the data directory; see {@link RegisterRecord}. */
  readonly store: string
  /** Who decides the first instance: the same on all nodes of a new cluster. */
  readonly initialMembers: readonly string[]
}

interface State {
  readonly decided: RegisterRecord
  readonly promised: Ballot
  readonly accepted: { readonly ballot: Ballot; readonly record: RegisterRecord } | undefined
}

const format = 1
const fileName = 'acceptor'

/** The `birth` of the register that a data directory keeps, if it keeps one. */
export async function storedBirth(disk: Disk, dir: string): Promise<string | undefined> {
  const bytes = await readFile(disk, `${dir}/${fileName}`)
  if (bytes === undefined) return undefined
  try {
    return (JSON.parse(new TextDecoder().decode(bytes)) as StoredState).decided.birth ?? undefined
  } catch {
    // Its vote is lost: whoever needs it says so.
    return undefined
  }
}

export class Acceptor {
  private readonly options: AcceptorOptions
  private readonly stops: readonly (() => void)[]
  private state: State | undefined
  /** Kept while `state` is being replaced. */
  private knownBirth: string | undefined
  private knownMembers: readonly RegisterMember[] = []
  private queue: Promise<unknown> = Promise.resolve()

  constructor(options: AcceptorOptions) {
    this.options = options
    const { net } = options
    const serve = (verb: string, handle: (state: State, request: Message) => Promise<Message>) =>
      net.handle(verb, (_, request) => this.inTurn(async () => handle(await this.load(), request)))
    this.stops = [
      serve(registerVerbs.read, async state => this.answer(state, 'open')),
      serve(registerVerbs.prepare, (state, request) =>
        this.vote(state, request, 'promised', promised => ({ promised })),
      ),
      serve(registerVerbs.accept, (state, request) =>
        this.vote(state, request, 'accepted', ballot => ({
          promised: ballot,
          accepted: { ballot, record: recordOf(request.record) },
        })),
      ),
      serve(registerVerbs.learn, (state, request) => this.learn(state, request)),
    ]
  }

  /** The newest record known here to be decided. @throws {MetaStoreCorruptError} */
  decided(): Promise<RegisterRecord> {
    return this.inTurn(async () => (await this.load()).decided)
  }

  /** See {@link RegisterRecord}; undefined until a record was decided, or while the disk has not been read. */
  get birth(): string | undefined {
    return this.state?.decided.birth ?? this.knownBirth
  }

  /** Who decides, as far as is known here; none while the disk has not been read. */
  get members(): readonly RegisterMember[] {
    return this.knownMembers
  }

  /** What somebody learned to be decided. @throws {ForeignRegisterError} */
  hear(record: RegisterRecord): Promise<void> {
    return this.inTurn(async () => {
      await this.catchUp(await this.load(), record)
    })
  }

  close(): void {
    for (const stop of this.stops) stop()
  }

  /** A promise or an acceptance, unless this node has promised more, has no vote, or knows that the instance is over. */
  private async vote(
    found: State,
    request: Message,
    status: 'promised' | 'accepted',
    change: (ballot: Ballot) => Partial<State>,
  ): Promise<Message> {
    const before = recordOf(request.before)
    const state = await this.catchUp(found, before)
    if (state.decided.instance > before.instance) return this.answer(state, 'decided')
    if (!this.hasVote(state)) return this.answer(state, 'stranger')
    const ballot = ballotOf(request.ballot)
    if (isBelow(ballot, state.promised)) return this.answer(state, 'outbid')
    return this.answer(await this.store({ ...state, ...change(ballot) }), status)
  }

  private async learn(found: State, request: Message): Promise<Message> {
    return this.answer(await this.catchUp(found, recordOf(request.record)), 'open')
  }

  /** Whether this node, with this data directory, decides the next instance. */
  private hasVote({ decided: { members } }: State): boolean {
    const { net, store } = this.options
    return members.some(member => member === net.self || member === `${net.self}@${store}`)
  }

  /** @throws {ForeignRegisterError}: another register must never get this one's votes, nor overwrite it */
  private async catchUp(state: State, record: RegisterRecord): Promise<State> {
    if (!isSameRegister(state.decided, record))
      throw new ForeignRegisterError(
        `this node's register began as ${state.decided.birth}, the record is of one that began as ${record.birth}`,
      )
    if (record.instance <= state.decided.instance) return state
    return this.store({ decided: record, promised: noBallot, accepted: undefined })
  }

  private answer({ decided, promised, accepted }: State, status: string): Message {
    return {
      status,
      store: this.options.store,
      decided: recordMessage(decided),
      promised: ballotMessage(promised),
      accepted:
        accepted === undefined
          ? null
          : { ballot: ballotMessage(accepted.ballot), record: recordMessage(accepted.record) },
    }
  }

  private async load(): Promise<State> {
    if (this.state !== undefined) return this.state
    const { disk, dir, initialMembers } = this.options
    await makeDir(disk, dir)
    await disk.syncDir(dir)
    const bytes = await readFile(disk, `${dir}/${fileName}`)
    const first = {
      instance: 0,
      version: 0,
      value: undefined,
      members: initialMembers,
      id: '',
      birth: undefined,
    }
    this.state =
      bytes === undefined
        ? { decided: first, promised: noBallot, accepted: undefined }
        : this.decode(bytes)
    this.knownMembers = this.state.decided.members
    return this.state
  }

  /** Durable once resolved. */
  private async store(state: State): Promise<State> {
    const { disk, dir, store } = this.options
    const { decided, promised, accepted } = state
    const text = JSON.stringify({
      format,
      store,
      decided: plain(decided),
      promised,
      accepted:
        accepted === undefined ? null : { ballot: accepted.ballot, record: plain(accepted.record) },
    })
    this.state = undefined
    this.knownBirth = decided.birth
    await replaceFile(disk, dir, fileName, [new TextEncoder().encode(text)])
    this.state = state
    this.knownMembers = decided.members
    return state
  }

  private decode(bytes: Uint8Array): State {
    const path = `${this.options.dir}/${fileName}`
    let found: StoredState
    try {
      found = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as StoredState
    } catch (cause) {
      throw new MetaStoreCorruptError(
        `${path} is not JSON: this node's vote in the register is lost; remove the node from the cluster and add it with an empty directory`,
        { cause },
      )
    }
    if (found.format !== format)
      throw new MetaStoreCorruptError(
        `${path} has format ${found.format}, this version reads ${format}`,
      )
    if (found.store !== this.options.store)
      throw new MetaStoreCorruptError(
        `${path} belongs to the data directory ${found.store}, this is ${this.options.store}: directories were mixed up`,
      )
    const { decided, promised, accepted } = found
    return {
      decided: fromPlain(decided),
      promised,
      accepted:
        accepted === null
          ? undefined
          : { ballot: accepted.ballot, record: fromPlain(accepted.record) },
    }
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.queue.then(work)
    this.queue = done.catch(() => {})
    return done
  }
}

type PlainRecord = Omit<RegisterRecord, 'value' | 'birth'> & {
  readonly value: string | null
  readonly birth?: string | null
}

interface StoredState {
  readonly format: number
  readonly store: string
  readonly decided: PlainRecord
  readonly promised: Ballot
  readonly accepted: { readonly ballot: Ballot; readonly record: PlainRecord } | null
}

function plain(record: RegisterRecord): PlainRecord {
  const { value, birth = null } = record
  return {
    ...record,
    birth,
    value: value === undefined ? null : Buffer.from(value).toString('base64'),
  }
}

function fromPlain(record: PlainRecord): RegisterRecord {
  const { value, birth } = record
  return {
    ...record,
    birth: birth ?? undefined,
    value: value === null ? undefined : new Uint8Array(Buffer.from(value, 'base64')),
  }
}

// The Loglet contract: the narrow waist of Logloom (DESIGN 4.1; "Virtual Consensus in Delos", OSDI 2020, figure 2).
//
// One ordered store with one fixed configuration. Everything a provider must promise is said here and enforced by
// `loglets/conformance`; implementations repeat none of it.
//
//   position   0        trim point            tail
//              |--trimmed--|----readable-------|----unwritten--->
//
// Positions are dense from 0. `tail` is the first unwritten position. Ranges are half-open `[from, to)`.

/** A position inside one loglet: a safe integer from 0. */
export type Position = number & { readonly __brand: 'Position' }

/** A position of the VirtualLog: dense, from 0, a safe integer. Only `virtual-log/segment.ts` converts between the two. */
export type Lsn = number & { readonly __brand: 'Lsn' }

export const position = (n: number): Position => n as Position
export const lsn = (n: number): Lsn => n as Lsn

/**
 * What is appended: the entry's bytes are the buffers one after the other, never copied to join them. The loglet owns the buffers
 * until the append settled: the caller MUST NOT change them before that. An empty entry (0 bytes in all) is the filler and MUST
 * be refused by `append`.
 */
export type Entry = readonly Uint8Array[]

export interface TailState {
  /** First unwritten position. Every position below it is durable as the loglet promises. */
  readonly tail: Position
  /** Once true, true for ever. */
  readonly sealed: boolean
}

/** Why a range cannot be read. `filler`: written as nothing; `trimmed`: removed on request; `lost`: it was there and is gone. */
export type GapKind = 'trimmed' | 'filler' | 'lost'

export interface EntryItem {
  readonly kind: 'entry'
  readonly position: Position
  /** The whole entry in one piece. The reader owns it. */
  readonly bytes: Uint8Array
}

export interface GapItem {
  readonly kind: 'gap'
  readonly gap: GapKind
  /** `[from, to)`, never empty. */
  readonly from: Position
  readonly to: Position
}

export type LogItem = EntryItem | GapItem

/** A piece of one entry: `length` bytes from byte `start` of the entry at `position`. */
export interface Slice {
  readonly position: Position
  readonly start: number
  readonly length: number
}

/** The bytes of a slice, or the reason why they are not to be had. */
export type SliceResult = Uint8Array | { readonly gap: GapKind; readonly detail?: string }

/** Which processes can reach the store: a spec narrower than the log's members is refused before anything is sealed. */
export type Scope = 'process' | 'node' | 'cluster'

export interface Loglet {
  /** The spec's name, e.g. `file`; a label of metrics. */
  readonly kind: string

  /**
   * Orders and stores one entry. Resolves with its position when the entry is durable as the loglet promises **and every
   * earlier position is too**. Calls made one after the other by one caller without waiting get rising positions.
   *
   * An append has three outcomes: committed (resolves), refused, unknown. A rejection is a {@link LogletError} whose `outcome` says
   * which: `refused` left no trace and never takes effect later; anything else is `unknown`. A seal that overtakes an append in flight makes it unknown.
   * MUST refuse an empty entry and one above `entryBytesMax` with LOGLET_REFUSED.
   */
  append(entry: Entry): Promise<Position>

  /** Linearizable with appends: at or past every position acked before the call. Never goes back; never un-seals. */
  checkTail(signal?: AbortSignal): Promise<TailState>

  /**
   * Reads in order from `from`, below `to`, at most about `maxBytes` but always at least one item when `from < to`. `to` MUST
   * NOT exceed a committed tail that the caller learned. Items are contiguous: the first starts at `from`.
   */
  readNext(
    from: Position,
    to: Position,
    maxBytes: number,
    signal?: AbortSignal,
  ): Promise<readonly LogItem[]>

  /** Scattered reads without reading whole entries; results in the order of `slices`. A slice outside its entry is a RangeError. */
  readSlices(slices: readonly Slice[], signal?: AbortSignal): Promise<readonly SliceResult[]>

  /**
   * Resolves when the known tail is greater than `beyond`, or when the loglet is known to be sealed. A trailing hint for readers: it never exceeds the
   * committed tail, and its `sealed` is provisional: where a segment ends is for the chain to say. Rejects with the signal's reason when aborted.
   */
  waitTail(beyond: Position, signal?: AbortSignal): Promise<TailState>

  /** Drops `[0, before)`, clamped to the tail. Idempotent, never goes back. Returns the trim point that holds now. */
  prefixTrim(before: Position): Promise<Position>

  /**
   * One-way and idempotent. Once resolved, no append that starts later can succeed, and that is as durable as the entries are. Appends in flight are drained:
   * each is settled before `checkTail` says sealed, and none is acked at or past the tail of the first answer `{ tail, sealed: true }`.
   */
  seal(): Promise<void>

  /** Releases everything; idempotent. Appends in flight settle; later calls reject with LOGLET_CLOSED. */
  close(): Promise<void>
}

/** A loglet's configuration as the chain stores it: the text of `SPEC` (DESIGN 4.4) below the `striped` level. */
export interface LogletParams {
  readonly kind: string
  /** `key=value` pairs of the spec; unknown keys MUST be refused by `validate`. */
  readonly options: Readonly<Record<string, string>>
  /** What {@link LogletProvider.place} chose when the loglet was made; the chain keeps it. Absent for kinds without a choice. */
  readonly placement?: string
}

/** Which leaf of a spec is placed, of how many; `servers` as the operator wrote it on `striped`. */
export interface PlaceRequest {
  readonly leaf: number
  readonly leaves: number
  readonly servers: 'shared' | 'disjoint'
}

/** Makes and opens the loglets of one kind. Constructors do no I/O. */
export interface LogletProvider {
  readonly kind: string
  readonly scope: Scope
  /** True when a restart of the process loses the content. */
  readonly volatile: boolean
  /** @throws {LogletSpecError} on unknown or bad options. Called before anything is made or sealed. */
  validate(params: LogletParams): void
  /**
   * Chooses where a new loglet lives, among what is alive now: opaque text for the chain, handed to `create`, `open` and `remove` later.
   * @throws {LogletError} when there is no place. Absent: there is nothing to choose.
   */
  place?(params: LogletParams, request: PlaceRequest): string
  /** Makes the store of a new loglet, once, durably, and opens it. An id that exists already is a LogletError (LOGLET_EXISTS). */
  create(id: string, params: LogletParams): Promise<Loglet>
  /** Opens what `create` made. **Absent storage never opens empty**: @throws {LogletLostError}. */
  open(id: string, params: LogletParams): Promise<Loglet>
  /** Deletes the store of a loglet that is in no chain any more. Idempotent. */
  remove(id: string, params: LogletParams): Promise<void>
}

export type AppendOutcome = 'refused' | 'unknown'

/** Base of the layer's errors. `outcome` matters for appends: `refused` left no trace. */
export abstract class LogletError extends Error {
  abstract readonly code: string
  readonly outcome: AppendOutcome

  constructor(message: string, outcome: AppendOutcome, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.outcome = outcome
  }
}

/** The loglet takes no more appends. `refused` only when this append never started; else `unknown`. */
export class LogletSealedError extends LogletError {
  readonly code = 'LOGLET_SEALED'
}

/** `out-of-order`: a replica was asked to store a position that cannot follow yet. */
export type RefusalReason = 'empty' | 'too-large' | 'no-space' | 'backlog' | 'out-of-order'

/** This append cannot be taken (too large, empty, disk full); others may be. Always `refused`. */
export class LogletRefusedError extends LogletError {
  readonly code = 'LOGLET_REFUSED'
  readonly reason: RefusalReason
  constructor(reason: RefusalReason, message: string, cause?: unknown) {
    super(message, 'refused', cause)
    this.reason = reason
  }
}

/** Storage failed (for example fsync): the loglet is unusable in this process, which must stop. Outcome `unknown`. */
export class LogletFailedError extends LogletError {
  readonly code = 'LOGLET_FAILED'
}

/** Too few of the loglet's members answer: nobody knows, and another try or a reconfiguration may help. Outcome `unknown`. */
export class LogletUnavailableError extends LogletError {
  readonly code = 'LOGLET_UNAVAILABLE'
  constructor(message: string, cause?: unknown) {
    super(message, 'unknown', cause)
  }
}

/** The store that the chain names does not exist, or its tail is gone. */
export class LogletLostError extends LogletError {
  readonly code = 'LOGLET_LOST'
}

/** Used after `close`. */
export class LogletClosedError extends LogletError {
  readonly code = 'LOGLET_CLOSED'
}

/** `create` met an id that exists. */
export class LogletExistsError extends LogletError {
  readonly code = 'LOGLET_EXISTS'
}

/** A spec, option or value that cannot be: names the value and the remedy. Raised before anything happens. */
export class LogletSpecError extends LogletError {
  readonly code = 'LOGLET_SPEC'
  constructor(message: string) {
    super(message, 'refused')
  }
}

/** Largest entry that any loglet takes, bytes. The broker's own entries stay below it. */
export const entryBytesMax = 16 * 1024 * 1024

// `logloom/loglets`: the shared log as a library, and what a provider of another loglet needs. The conformance suite is a door of its own.

export {
  type AppendOutcome,
  type Entry,
  entryBytesMax,
  type EntryItem,
  type GapItem,
  type GapKind,
  type LogItem,
  type Loglet,
  LogletClosedError,
  LogletError,
  LogletExistsError,
  LogletFailedError,
  LogletLostError,
  type LogletParams,
  type LogletProvider,
  LogletRefusedError,
  LogletSealedError,
  LogletSpecError,
  LogletUnavailableError,
  lsn,
  type Lsn,
  type PlaceRequest,
  position,
  type Position,
  type RefusalReason,
  type Scope,
  type Slice,
  type SliceResult,
  type TailState,
} from './contract.ts'
export type { Clock, Disk, DiskFile, Random } from './ports.ts'
export {
  formatSpec,
  isStriped,
  type LeafSpec,
  leavesOf,
  type LogletSpec,
  parseSpec,
  stripesMax,
  type StripedSpec,
} from './spec.ts'
export { LogletRegistry } from './registry.ts'
export {
  type Chain,
  ChainConflictError,
  ChainInvalidError,
  decodeChain,
  encodeChain,
  extend,
  firstChain,
  type Hole,
  lastSegment,
  modify,
  type Segment,
  segmentAt,
  segmentByIndex,
  startOf,
  truncate,
  validate,
} from './chain.ts'
export {
  type MetaStore,
  MetaStoreCorruptError,
  type Note,
  type NoteStore,
  type WriteResult,
} from './metastore/metastore.ts'
export { FileMetaStore, type FileMetaStoreOptions } from './metastore/file.ts'
export { MemoryMetaStore } from './metastore/memory.ts'
export { Acceptor, type AcceptorOptions } from './metastore/paxos/acceptor.ts'
export {
  MetaStoreUnavailableError,
  PaxosMetaStore,
  type PaxosMetaStoreOptions,
} from './metastore/paxos/paxos-metastore.ts'
export { type MemoryLogletOptions, MemoryLogletProvider } from './memory/memory-provider.ts'
export { FileLogletProvider, type FileLogletProviderOptions } from './file/file-provider.ts'
export { LogletStalledError, StripedLoglet, type StripedPorts } from './striped/striped-loglet.ts'
export {
  AppendError,
  type LsnItem,
  type LsnSlice,
  type ReconfigureResult,
  VirtualLog,
  type VirtualLogEvent,
  type VirtualLogOptions,
} from './virtual-log/virtual-log.ts'
export { nodeClock, nodeRandom } from './node-clock.ts'
export { nodeDisk } from './node-disk.ts'

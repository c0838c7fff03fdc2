// What wire/ offers. The broker's door to ws is wire/server.ts, which browsers never load.

export {
  type BatchHeader,
  type BatchProducer,
  type BatchRecord,
  batchHeaderBytes,
  type Codec,
  checkBatch,
  compressBatch,
  decodeBatch,
  decodeBatchSync,
  type EncodeBatchOptions,
  encodeBatch,
  readBatchHeader,
  stampProducer,
  supportedCodecs,
} from './batch.ts'
export {
  BatchBuilder,
  type BatchBuilderOptions,
  type HeadersInput,
  type RecordInput,
} from './batch-builder.ts'
export { RequestChannel, type RequestChannelOptions, type RequestOptions } from './channel.ts'
export { crc32 } from './crc32.ts'
export { type ErrorCode, errorTable, LogloomError, type WireError } from './errors.ts'
export {
  array,
  bin,
  bool,
  int,
  map,
  optArray,
  optBin,
  optBool,
  optInt,
  optMap,
  optStr,
  optUint,
  str,
  uint,
} from './fields.ts'
export { type Frame, packFrame, unpackFrame } from './frame.ts'
export { checkFrame, checkMsgpack, type GuardLimits } from './guard.ts'
export { wireLimits } from './limits.ts'
export { murmur2, partitionForKey } from './partitioner.ts'
export type { FrameSocket, OpenSocketOptions } from './socket.ts'
export { openSocket } from '#platform'
export { checkTopicName } from './topic-name.ts'

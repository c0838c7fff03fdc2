// The SDK: the same code in Node and browsers. Start at {@link connect}.

export type {
  Admin,
  AdminOptions,
  ClusterNodeStatus,
  BrokerHealth,
  CreatedTopic,
  LogDescription,
  LogSegment,
  LogSwitch,
  LostSegmentCopies,
  LogVerification,
  NewTopic,
  OffsetSpec,
  TopicDescription,
  TopicListing,
  TopicSettings,
} from './admin.ts'
export type {
  BrokerDescription,
  BucketCounts,
  ConnectionDescription,
} from './broker-description.ts'
export { type Client, connect } from './client.ts'
export { ce, type CloudEvent, type CloudEventOptions, fromCloudEvent } from './cloud-event.ts'
export type {
  Consumer,
  GroupBatch,
  GroupRecord,
  OffsetToCommit,
} from './consumer/consumer.ts'
export type { ConsumerListener } from './consumer/consumer-events.ts'
export type { ConsumerOptions } from './consumer/consumer-options.ts'
export type { GiveUp, Handler, RunOptions } from './consumer/runner.ts'
export type {
  CommittedOffset,
  GroupDescription,
  GroupListing,
  GroupMemberDescription,
  GroupPartition,
  OffsetReset,
  ResetOffsetsOptions,
  ShareGroupDescription,
  SharePartitionDescription,
} from './group-admin.ts'
export type { ClientClock } from './clock.ts'
export type { ClientOptions } from './open-connection.ts'
export type { TokenSource } from './credential.ts'
export {
  formatResumeToken,
  type Lsn,
  type Offset,
  parseResumeToken,
  type Position,
} from './positions.ts'
export type { BatchEntry, Producer, SendBatchOptions, SendOptions } from './producer.ts'
export type { Partitioner, ProducerOptions, RejectedBatch } from './producer-options.ts'
export type { Queue, QueueHandler, QueueRecord, QueueRunOptions } from './queue/queue.ts'
export type { QueueOptions } from './queue/queue-options.ts'
export { connectReader, type ReadClient } from './read-client.ts'
export type {
  OnInvalid,
  ReadAs,
  ReadFrom,
  ReadGap,
  ReadOptions,
  ReadRetry,
} from './read-options.ts'
export type { ReadBatch, ReadRecord } from './read-record.ts'
export type { ReadTopics } from './read-topics.ts'
export type { Reader } from './reader.ts'
export type { Ack, OutgoingRecord, SealMet, Ticket } from './records.ts'
export type { TracingApi, TracingMeter, TracingOptions } from './tracing/api.ts'
export type { Transaction, TransactionOptions } from './transaction.ts'
export type {
  AclBinding,
  AclFilter,
  CreatedToken,
  NewAclBinding,
  NewScopedToken,
  NewToken,
  Quota,
  ScopeGrant,
  TokenListing,
} from './security-admin.ts'
export type { ClientStatus } from './status.ts'
export {
  type PlainValue,
  type StandardSchema,
  type Topic,
  topic,
  type TopicCodec,
} from './topic.ts'
export {
  type Codec,
  type ErrorCode,
  errorTable,
  type HeadersInput,
  LogloomError,
  type RecordInput,
  type WireError,
} from '../wire/index.ts'

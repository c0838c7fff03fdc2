// Error codes of the protocol (docs/protocol.md 1, docs/errors.md).
//
// One table is the single source: a code, whether a retry is safe, and the hint that names the remedy. `retriable` means
// "may succeed later and left no trace"; an outcome that nobody knows is OUTCOME_UNKNOWN and never retriable by itself.

interface ErrorSpec {
  readonly retriable: boolean
  /** What the reader of the error can do about it. */
  readonly hint: string
}

const table = {
  BAD_FRAME: spec(
    false,
    'send one msgpack map per binary message, within the limits of docs/protocol.md 1.1',
  ),
  HELLO_REQUIRED: spec(false, 'send { op: "hello", id, protocol: 1, client } first'),
  UNSUPPORTED_PROTOCOL: spec(false, 'use a protocol number listed in `supported`'),
  UNSUPPORTED_VERSION: spec(false, 'upgrade the brokers named in `nodes`, then try again'),
  UNKNOWN_OP: spec(false, 'see docs/protocol.md for the operations of this version'),
  INVALID_REQUEST: spec(false, 'correct the field named in the message'),
  NUMBER_OUT_OF_RANGE: spec(false, 'integers must lie within ±(2^53 - 1)'),
  INVALID_TOPIC_NAME: spec(
    false,
    'use 1 to 249 of the characters a-z A-Z 0-9 . _ - and not "." or ".."',
  ),
  UNKNOWN_TOPIC: spec(false, 'create the topic, or set auto.create.topics.enable=true'),
  TOPIC_RESTORING: spec(
    true,
    'wait for the restore, run it again if it ended, or drop it: see `logloom snapshot unfinished`',
  ),
  TOPIC_EXISTS: spec(false, 'pass ifNotExists, or choose another name'),
  UNKNOWN_PARTITION: spec(false, 'partitions are numbered from 0; see describeTopic'),
  INVALID_PARTITIONS: spec(false, 'ask for a whole number of partitions within the limit'),
  INVALID_CONFIG: spec(
    false,
    'remove the key or correct its value; keys without effect are refused',
  ),
  STALE_PARTITIONS: spec(
    true,
    'the topic has other `partitions` now: choose the partitions again out of so many, and send again',
  ),
  OFFSET_OUT_OF_RANGE: spec(false, 'read from an offset between `start` and `end`'),
  OFFSET_TRIMMED: spec(false, 'those records are gone; read from `start`'),
  OFFSET_CONFLICT: spec(false, 'read the partition again and retry with its new end offset'),
  INVALID_RECORD: spec(
    false,
    'give every record of a topic with cleanup.policy=compact a key, or change the policy',
  ),
  BATCH_CORRUPT: spec(false, 'encode the batch again; its header, length or CRC is wrong'),
  MESSAGE_TOO_LARGE: spec(false, 'send smaller batches, or raise the limit named in the message'),
  UNSUPPORTED_CODEC: spec(false, 'use a codec listed in the hello reply'),
  OUT_OF_ORDER_SEQUENCE: spec(true, 'send all unresolved requests of this lane again, in order'),
  UNKNOWN_PRODUCER: spec(false, 'the producer id expired: start a new one with initProducer'),
  PRODUCER_FENCED: spec(false, 'a newer instance of this producer took over'),
  INVALID_GROUP: spec(false, 'use 1 to 249 visible ASCII characters'),
  UNKNOWN_GROUP: spec(false, 'see `logloom group list` for the groups there are'),
  TOKEN_EXISTS: spec(false, 'choose another tokenId'),
  UNKNOWN_TOKEN: spec(false, 'see `logloom token list` for the API keys there are'),
  UNKNOWN_MEMBER: spec(
    false,
    'the member was away for longer than its sessionTimeoutMs, or left: join again under a new member id',
  ),
  MEMBER_FENCED: spec(
    false,
    'another process joined with this groupInstanceId and took over: give each process its own',
  ),
  STALE_GENERATION: spec(
    false,
    'the partition belongs to another member now: drop what was not committed',
  ),
  GROUP_NOT_EMPTY: spec(false, 'stop all members of the group first'),
  INCONSISTENT_GROUP_PROTOCOL: spec(
    false,
    'a name is a consumer group or a share group, not both: use another name, or delete the group',
  ),
  INVALID_RECORD_STATE: spec(
    false,
    'the record was delivered again or is finished: drop what was done, or extend the lock in time',
  ),
  UNKNOWN_SUBSCRIPTION: spec(false, 'subscribe first; subscriptions end with their connection'),
  LIMIT_EXCEEDED: spec(false, 'stay below the limit named in the message'),
  STORAGE_FULL: spec(true, 'free disk space below the data directory; nothing was written'),
  THROTTLED: spec(true, 'retry after `retryAfterMs`, or a back-off where there is none'),
  QUOTA_EXCEEDED: spec(
    false,
    'use less of what the message names, or have the quota raised: `logloom quota set`, or the setting quota… for all',
  ),
  SHUTTING_DOWN: spec(true, 'reconnect; the broker is going away'),
  OUTCOME_UNKNOWN: spec(
    false,
    'send the same request with the same producer identity to learn its outcome',
  ),
  TIMEOUT: spec(false, 'the deadline passed before an answer; the outcome is unknown'),
  INVALID_SPEC: spec(
    false,
    'use NAME[,key=value] or striped:N:SPEC with a NAME that the message lists; see docs/operations.md, "Switching the log"',
  ),
  RECONFIGURE_CONFLICT: spec(
    true,
    'another reconfiguration won; look at describeLog and decide again',
  ),
  TRIM_BLOCKED: spec(
    false,
    'the range holds live records of the topics named; pass force to drop them',
  ),
  STATE_DIVERGED: spec(
    false,
    'keep the logs of all brokers and report it; move the state folder of the broker that stopped away and start it: it rebuilds its state from another broker and the log',
  ),
  STATE_BEHIND: spec(
    false,
    'start the broker again: it takes the state from a node that has a newer checkpoint',
  ),
  LOG_UNAVAILABLE: spec(
    true,
    'too few nodes of the cluster answer; retry, and see `logloom health` for which',
  ),
  SNAPSHOT_EXPIRED: spec(
    false,
    'take the snapshot anew; see docs/operations.md, "Backup and restore", for what ends one',
  ),
  SNAPSHOT_CORRUPT: spec(
    false,
    'take another copy of the file; nothing was written to the cluster',
  ),
  RESTORE_INCOMPLETE: spec(false, 'run the same restore again: it goes on where it ended'),
  LOG_LOST: spec(false, 'the storage of this range is damaged or gone; see `logloom log verify`'),
  INTERNAL: spec(false, 'a defect: please report it with the broker log'),
  CONNECTION_CLOSED: spec(false, 'the connection ended before an answer; the outcome is unknown'),
  PORT_IN_USE: spec(false, 'choose another --port, or stop the process that holds it'),
  DATA_DIR_LOCKED: spec(
    false,
    'another broker uses this data directory; stop it or choose another --data',
  ),
  DATA_DIR_UNWRITABLE: spec(false, 'make the directory writable or choose another --data'),
  DATA_DIR_NEWER: spec(false, 'this directory was written by a newer version; upgrade logloom'),
  INSECURE_PUBLIC_BIND: spec(
    false,
    'bind to 127.0.0.1, or give --authentication required and a certificate, or pass --insecure-public',
  ),
  DATA_DIR_FOREIGN: spec(
    false,
    'give the directory that belongs to this node, or start this node with an empty one',
  ),
  UNKNOWN_NODE: spec(false, 'see `logloom cluster describe` for the nodes of the cluster'),
  NODE_EXISTS: spec(
    false,
    'choose another node id; a node that moved or lost its disk is removed first, then added',
  ),
  TOO_FEW_NODES: spec(false, 'start the other nodes of the cluster first'),
  PEER_SECRET: spec(false, 'give all nodes of a cluster the same secret'),
  PEER_CERTIFICATE: spec(
    false,
    'give the node a certificate with its node id as DNS name, signed by the authority in peerTlsCaFile',
  ),
  PEER_CLUSTER: spec(false, 'correct the cluster id, or the URL that leads to another cluster'),
  PEER_PROTOCOL: spec(false, 'upgrade the older node; neighbouring versions understand each other'),
  PEER_UNKNOWN: spec(false, 'add the node to the peer lists of all the others'),
  NODE_REMOVED: spec(
    false,
    'stop it; to let it in again, run `logloom cluster add` against another node, then start it with an empty data directory and --join',
  ),
  WRONG_PORT: spec(
    false,
    'clients dial the port of --port, 5640 by default; nodes dial the ports in --peers, and the two differ',
  ),
  PEER_MISDIRECTED: spec(false, 'correct the URL of this node in the peer list'),
  PEER_DUPLICATE: spec(
    true,
    'a restarted node gets in once its former process is gone; else two nodes have one id: rename one',
  ),
  AUTHENTICATION_REQUIRED: spec(
    false,
    'send a token: connect(url, { token }), --token-file FILE or LOGLOOM_TOKEN',
  ),
  AUTHENTICATION_FAILED: spec(
    false,
    'the token is wrong, has expired or was revoked: get a new one; the log of the broker says which',
  ),
  AUTHORIZATION_FAILED: spec(false, 'let an administrator allow it: see `logloom acl`'),
  TOKEN_IN_URL: spec(
    false,
    'take the token out of the URL, and make a new one: URLs are written to logs; send it in hello, in a subprotocol or in the Authorization header',
  ),
  FORBIDDEN_HOST: spec(false, 'add the host to allowedHosts'),
  FORBIDDEN_ORIGIN: spec(false, 'add the origin to allowedOrigins'),
} as const satisfies Record<string, ErrorSpec>

export type ErrorCode = keyof typeof table

/** Every code with its meaning for retries, in the order of `docs/errors.md`. */
export const errorTable: Readonly<Record<ErrorCode, ErrorSpec>> = table

/** The `error` member of an error reply (protocol.md 1). Further keys carry the facts of the code, e.g. `limit`, `actual`. */
export interface WireError {
  readonly code: string
  readonly message: string
  readonly retriable: boolean
  readonly hint: string
  readonly [detail: string]: unknown
}

/** The one error class that crosses the wire, in both directions. Match on `code`, never on the message. */
export class LogloomError extends Error {
  override readonly name = 'LogloomError'
  /** A code of {@link errorTable}, or one of a newer broker. */
  readonly code: string
  readonly retriable: boolean
  readonly hint: string
  /** Facts of this code: `limit`, `actual`, `start`, `end`, `expected`, … */
  readonly details: Readonly<Record<string, unknown>>

  constructor(
    code: ErrorCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    options: { cause?: unknown; retriable?: boolean; hint?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.retriable = options.retriable ?? table[code]?.retriable ?? false
    this.hint = options.hint ?? table[code]?.hint ?? ''
    this.details = details
  }

  toWire(): WireError {
    const { code, message, retriable, hint } = this
    return { ...this.details, code, message, retriable, hint }
  }

  /** Rebuilds the error on the receiving side; unknown codes are kept as they are. */
  static fromWire(error: WireError): LogloomError {
    const { code, message, retriable, hint, ...details } = error
    return new LogloomError(code as ErrorCode, message, details, { retriable, hint })
  }
}

function spec(retriable: boolean, hint: string): ErrorSpec {
  return { retriable, hint }
}

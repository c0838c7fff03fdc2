// What a request about share groups may contain (docs/limits.md); defaults are KIP-932's.

/** Records in one shareFetch. */
export const shareRecordsPerFetchMax = 2000
/** Records that one request acknowledges. */
export const acksPerRequestMax = 10_000
/** How long a lock may hold, ms (group.share.record.lock.duration.ms). */
export const recordLockDurationMsMax = 3_600_000
/** How long a record that was given back may wait, ms. */
export const releaseDelayMsMax = 86_400_000
/** Deliveries of a record before it is dead (group.share.delivery.count.limit). */
export const deliveryCountLimitMax = 100
/** Partitions from which one shareFetch takes. */
export const partitionsPerShareFetchMax = 16

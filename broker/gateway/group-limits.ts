// What a request about consumer groups may contain (docs/limits.md).

/** Characters of a group's name. */
export const groupNameLengthMax = 249
/** Characters of a member id, an instance id, a transactional id. */
export const memberIdLengthMax = 128
/** Topics that a member names. */
export const topicsPerMemberMax = 1000
/** Partitions in one commit, release or reset. */
export const offsetsPerCommitMax = 10_000
/** Characters of the text beside a committed offset. */
export const offsetMetadataLengthMax = 4096
/** The longest grace period of a member without a socket, ms (Kafka's group.max.session.timeout.ms). */
export const groupSessionTimeoutMsMax = 1_800_000
/** The longest time to give a partition back, ms. */
export const rebalanceTimeoutMsMax = 3_600_000

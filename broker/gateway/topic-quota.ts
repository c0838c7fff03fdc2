// Quotas of topics and partitions: who made a topic is kept with its configuration, and looked at where somebody makes more.
//
// Checked by the broker that is asked, against the state that it knows, before anything is proposed: two requests at the same time may both
// pass. Topics made while authentication is off belong to nobody, which counts as one principal.

import type { Broker } from '../broker.ts'
import { anonymous, type Principal } from '../security/principal.ts'
import type { Quota } from '../security/quota.ts'
import type { TopicState } from '../state/topics.ts'
import { quotaExceeded } from './load/accounts.ts'

/** Set at creation and by nobody else. */
export const ownerKey = 'owner'

export type QuotaOf = (principal: string) => Quota

/** What the topic of this principal has in its configuration besides. */
export function ownership({ name, mechanism }: Principal): Readonly<Record<string, string>> {
  return mechanism === 'none' ? {} : { [ownerKey]: name }
}

/** What somebody can set, and everybody who may describe the topic is told. */
export function settableConfig(
  config: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const { [ownerKey]: _, ...settable } = config
  return settable
}

export function ownerOf({ config }: TopicState): string {
  return config[ownerKey] ?? anonymous.name
}

/** @throws QUOTA_EXCEEDED when `owner` must not have so many more */
export function checkTopicQuota(
  broker: Broker,
  quotaOf: QuotaOf,
  owner: string,
  more: { readonly topics: number; readonly partitions: number },
): void {
  const quota = quotaOf(owner)
  if (quota.topics === undefined && quota.partitions === undefined) return
  let { topics, partitions } = more
  for (const topic of broker.topics()) {
    if (ownerOf(topic) !== owner) continue
    topics++
    partitions += topic.partitions.length
  }
  if (quota.topics !== undefined && more.topics > 0 && topics > quota.topics)
    throw quotaExceeded('topics', owner, quota.topics, topics)
  if (quota.partitions !== undefined && partitions > quota.partitions)
    throw quotaExceeded('partitions', owner, quota.partitions, partitions)
}

// Finds topics by name for requests: from the state at once when it is there; a missing one is missing only after a sync (no stale
// negatives), and is then created when the settings and the request allow it. Requests that meet the same missing topic share one creation.

import { LogloomError } from '../../wire/errors.ts'
import { checkTopicName } from '../../wire/topic-name.ts'
import type { Broker } from '../broker.ts'
import type { Access } from '../security/authorizer.ts'
import type { Principal } from '../security/principal.ts'
import type { Settings } from '../settings.ts'
import type { PartitionState, TopicState } from '../state/topics.ts'
import { partitionOf } from '../reader.ts'
import { checkTopicQuota, ownership, type QuotaOf } from './topic-quota.ts'

/** Who makes a topic by writing to it: a connection. */
export interface Creator {
  readonly principal: Principal
  readonly access: Access | undefined
}

export class TopicDirectory {
  private readonly broker: Broker
  private readonly settings: Settings
  private readonly quotaOf: QuotaOf
  private readonly creating = new Map<string, Promise<TopicState>>()

  constructor(broker: Broker, settings: Settings, quotaOf: QuotaOf) {
    this.broker = broker
    this.settings = settings
    this.quotaOf = quotaOf
  }

  /**
   * The topic, now or after a look at the log. `creator`: whoever would create it; undefined: it is not created. Without `access` there is no bound.
   * @throws INVALID_TOPIC_NAME, UNKNOWN_TOPIC, AUTHORIZATION_FAILED, QUOTA_EXCEEDED when it is missing and must not be created
   */
  find(name: string, creator?: Creator): TopicState | Promise<TopicState> {
    return this.broker.topicByName(name) ?? this.findLater(name, creator)
  }

  /** @throws UNKNOWN_PARTITION with the limit */
  partition(topic: TopicState, partition: number): PartitionState {
    return partitionOf(topic, partition)
  }

  /** As {@link partition}, after a look at the log when it is not there: partitions may have been added. */
  partitionSoon(topic: TopicState, partition: number): PartitionState | Promise<PartitionState> {
    return topic.partitions[partition] ?? this.partitionLater(topic, partition)
  }

  private async partitionLater(topic: TopicState, partition: number): Promise<PartitionState> {
    await this.broker.fresh()
    return partitionOf(topic, partition)
  }

  private async findLater(name: string, creator?: Creator): Promise<TopicState> {
    checkTopicName(name)
    const autoCreate = this.settings.autoCreateTopicsEnable
    const access = creator?.access
    const create = creator !== undefined
    const mayCreate = access === undefined || access.mayCreate(name)
    if (create && autoCreate && mayCreate) return this.create(name, creator.principal)
    await this.broker.fresh()
    const topic = this.broker.topicByName(name)
    if (topic !== undefined) return topic
    if (create && autoCreate) access?.mustCreate(name)
    throw new LogloomError('UNKNOWN_TOPIC', `topic ${name} does not exist`, {
      topic: name,
      autoCreate,
    })
  }

  private create(name: string, principal: Principal): Promise<TopicState> {
    let creating = this.creating.get(name)
    if (creating === undefined) {
      creating = this.createNow(name, principal).finally(() => this.creating.delete(name))
      this.creating.set(name, creating)
    }
    return creating
  }

  private async createNow(name: string, principal: Principal): Promise<TopicState> {
    const partitions = this.settings.numPartitions
    checkTopicQuota(this.broker, this.quotaOf, principal.name, { topics: 1, partitions })
    const decision = await this.broker.propose({
      type: 'createTopic',
      topic: name,
      partitions,
      config: ownership(principal),
      ifNotExists: true,
    })
    if (!decision.ok) throw new LogloomError(decision.code, decision.message, decision.details)
    const topic = this.broker.topicByName(name)
    if (topic !== undefined) return topic
    throw new LogloomError('UNKNOWN_TOPIC', `topic ${name} was deleted right after its creation`, {
      topic: name,
      autoCreate: true,
    })
  }
}

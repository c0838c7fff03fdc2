// Finds topics by name for requests: from the state at once when it is there; a missing one is missing only after a sync (no stale
// negatives), and is then created when the settings and the request allow it. Requests that meet the same missing topic share one creation.

import { LogloomError } from '../../wire/errors.ts'
import { checkTopicName } from '../../wire/topic-name.ts'
import type { Broker } from '../broker.ts'
import type { Access } from '../security/authorizer.ts'
import type { Settings } from '../settings.ts'
import type { PartitionState, TopicState } from '../state/topics.ts'
import { partitionOf } from '../reader.ts'

export class TopicDirectory {
  private readonly broker: Broker
  private readonly settings: Settings
  private readonly creating = new Map<string, Promise<TopicState>>()

  constructor(broker: Broker, settings: Settings) {
    this.broker = broker
    this.settings = settings
  }

  /**
   * The topic, now or after a look at the log. `access`: of whoever would create it; undefined when there is no bound.
   * @throws INVALID_TOPIC_NAME, UNKNOWN_TOPIC, AUTHORIZATION_FAILED when it is missing and must not be created
   */
  find(name: string, create: boolean, access?: Access): TopicState | Promise<TopicState> {
    return this.broker.topicByName(name) ?? this.findLater(name, create, access)
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

  private async findLater(name: string, create: boolean, access?: Access): Promise<TopicState> {
    checkTopicName(name)
    const autoCreate = this.settings.autoCreateTopicsEnable
    const mayCreate = access === undefined || access.mayCreate(name)
    if (create && autoCreate && mayCreate) return this.create(name)
    await this.broker.fresh()
    const topic = this.broker.topicByName(name)
    if (topic !== undefined) return topic
    if (create && autoCreate) access?.mustCreate(name)
    throw new LogloomError('UNKNOWN_TOPIC', `topic ${name} does not exist`, {
      topic: name,
      autoCreate,
    })
  }

  private create(name: string): Promise<TopicState> {
    let creating = this.creating.get(name)
    if (creating === undefined) {
      creating = this.createNow(name).finally(() => this.creating.delete(name))
      this.creating.set(name, creating)
    }
    return creating
  }

  private async createNow(name: string): Promise<TopicState> {
    const decision = await this.broker.propose({
      type: 'createTopic',
      topic: name,
      partitions: this.settings.numPartitions,
      config: {},
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

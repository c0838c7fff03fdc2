// A client that says a thing again until it is known what became of it, or until it is done, through whichever broker answers.

import type { Command, Decision } from '../../broker/state/commands.ts'
import type { Process } from './world.ts'

/** Of one client; the decision, or undefined when nobody can say. */
export type Ask = (command: Command) => Promise<Decision | undefined>

const pauseMs = 5

export class Patient {
  private readonly ask: Ask
  private readonly driver: Process

  constructor(ask: Ask, driver: Process) {
    this.ask = ask
    this.driver = driver
  }

  /** What became of it, a refusal as well. */
  async decided(command: Command): Promise<Decision> {
    for (;;) {
      const decision = await this.ask(command)
      if (decision !== undefined) return decision
      await this.driver.sleep(pauseMs)
    }
  }

  /** Until it is accepted. */
  async insist(command: Command): Promise<Decision & { ok: true }> {
    for (;;) {
      const decision = await this.ask(command)
      if (decision?.ok === true) return decision
      await this.driver.sleep(pauseMs)
    }
  }

  /** @returns the topic's id */
  async createTopic(
    topic: string,
    partitions: number,
    config: Readonly<Record<string, string>> = {},
  ): Promise<number> {
    const create = { topic, partitions, config, ifNotExists: true } as const
    const { result } = await this.insist({ type: 'createTopic', ...create })
    return result?.topicId as number
  }

  /** @returns a new producer id */
  async newProducer(): Promise<number> {
    const { result } = await this.insist({ type: 'initProducer' })
    return result?.producerId as number
  }
}

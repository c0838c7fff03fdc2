// Where producer ids come from (protocol.md 5).
//
// Guarantees: one shared id per source, asked for once and kept across reconnects; a lane that lost its place gets a fresh id of its
// own, so that the other lanes keep theirs. A repeated `initProducer` at worst wastes an id.

import { u32Of, uintOf } from './checked.ts'
import type { Connection } from './connection.ts'

/** Who a producer is; sequences start at 0 for every new value. */
export interface ProducerId {
  readonly producerId: number
  readonly producerEpoch: number
}

export class ProducerIdSource {
  readonly #connection: Connection
  readonly #transactionalId: string | undefined
  #shared: Promise<ProducerId> | undefined

  constructor(connection: Connection, transactionalId?: string) {
    this.#connection = connection
    this.#transactionalId = transactionalId
  }

  /** The id that all healthy lanes of one producer use. @throws when the connection is closed for good */
  shared(): Promise<ProducerId> {
    if (!this.#shared) {
      const shared = this.fresh()
      shared.catch(() => {
        if (this.#shared === shared) this.#shared = undefined
      })
      this.#shared = shared
    }
    return this.#shared
  }

  /** A new id for one lane. */
  async fresh(): Promise<ProducerId> {
    const transactionalId = this.#transactionalId
    const fields = transactionalId === undefined ? {} : { transactionalId }
    const reply = await this.#connection.call('initProducer', fields)
    return {
      producerId: uintOf(reply, 'producerId'),
      producerEpoch: u32Of(reply, 'producerEpoch'),
    }
  }
}

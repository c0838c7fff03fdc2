// A client that only reads: what a page needs that shows records, at half the bytes of the full client.
//
// Guarantees those of Client for reading; bundlers leave producing and administration out.

import { Catalog } from './catalog.ts'
import type { Connection } from './connection.ts'
import { type ClientOptions, openConnection } from './open-connection.ts'
import { Readers, type ReadTopics } from './read-topics.ts'
import type { ClientStatus } from './status.ts'

/** Made by {@link connectReader}. */
export class ReadClient {
  readonly read: ReadTopics
  readonly #connection: Connection
  readonly #readers: Readers

  /** Made by {@link connectReader}. */
  constructor(connection: Connection) {
    this.#connection = connection
    this.#readers = new Readers(connection, new Catalog(connection))
    this.read = this.#readers.read
  }

  /** The connection's states: the present one first, then each change, until `closed`. */
  status(): AsyncIterableIterator<ClientStatus> {
    return this.#connection.status.read()
  }

  /** Ends readers and the connection. Idempotent. */
  async close(): Promise<void> {
    await this.#connection.close()
    await this.#readers.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** As {@link connect}, for reading only. @throws TIMEOUT, UNSUPPORTED_PROTOCOL, INVALID_REQUEST */
export async function connectReader(
  url: string | readonly string[],
  options: ClientOptions = {},
): Promise<ReadClient> {
  return new ReadClient(await openConnection(url, options))
}

// A broker that asks who one is, with all that it logs, and tokens of every kind for it.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../broker/index.ts'
import { type Client, connect } from '../../client/index.ts'

export class SecureBroker {
  readonly root = mkdtempSync(join(tmpdir(), 'logloom-security-'))
  /** Everything that the broker logged, as text. */
  readonly logged: string[] = []
  running: RunningBroker | undefined
  private readonly clients: Client[] = []

  static async start(options: StartBrokerOptions = {}): Promise<SecureBroker> {
    const broker = new SecureBroker()
    await broker.start(options)
    return broker
  }

  async start(options: StartBrokerOptions = {}): Promise<void> {
    const log = (fields: object, message: string): void => {
      this.logged.push(`${message} ${JSON.stringify(fields)}`)
    }
    this.running = await startBroker({
      data: join(this.root, 'data'),
      loglet: 'memory',
      port: 0,
      authentication: 'required',
      logger: { info: log, warn: log, error: log },
      ...options,
    })
  }

  get url(): string {
    return this.running?.url ?? ''
  }

  get httpUrl(): string {
    return this.url.replace(/^ws/, 'http')
  }

  get adminToken(): string {
    return readFileSync(join(this.root, 'data', 'admin.token'), 'utf8').trim()
  }

  /** A client that is closed at the end. */
  async connect(token = this.adminToken): Promise<Client> {
    const client = await connect(this.url, { token })
    this.clients.push(client)
    return client
  }

  async close(): Promise<void> {
    await Promise.all(this.clients.map(client => client.close({ timeoutMs: 0 })))
    await this.running?.close()
    rmSync(this.root, { recursive: true, force: true })
  }
}

// Tries the cells of the ACL matrix (docs/reliability.md, row 22) at a broker that asks who one is, each through a real socket. A denied cell must leave no
// trace: the hash of the replicated state is the same after it.

import { RawClient, type WireError } from '../gateway/raw-client.ts'
import { alice, type Cell, cellsOf, type Names, type Row, type ScopeGrant } from './acl-rows.ts'
import { SecureBroker } from './secure-broker.ts'

const shape =
  /^User:(alice|root) may not (read|write|create|delete|alter|describe) (topic|group|cluster) /

const trace = 'left a trace'

export class AclMatrix {
  readonly counts = { attempted: 0, allowed: 0, refused: 0, wrong: 0 }
  readonly broker: SecureBroker
  readonly admin: RawClient
  readonly alice: RawClient
  readonly aliceKey: string
  private readonly root: RawClient
  private readonly rootKey: string

  private constructor(
    broker: SecureBroker,
    keys: { readonly alice: string; readonly root: string },
    clients: { readonly admin: RawClient; readonly alice: RawClient; readonly root: RawClient },
  ) {
    this.broker = broker
    this.aliceKey = keys.alice
    this.rootKey = keys.root
    this.admin = clients.admin
    this.alice = clients.alice
    this.root = clients.root
  }

  static async start(): Promise<AclMatrix> {
    const broker = await SecureBroker.start({ superUsers: ['User:root'], drainMs: 100 })
    const operator = (await broker.connect()).admin()
    const keys = {
      alice: (await operator.createToken({ principal: alice })).token,
      root: (await operator.createToken({ principal: 'User:root' })).token,
    }
    const signIn = async (token: string): Promise<RawClient> => {
      const raw = await RawClient.dial(broker.url)
      await raw.call('hello', { protocol: 1, client: 'matrix', auth: { token } })
      return raw
    }
    return new AclMatrix(broker, keys, {
      admin: await signIn(broker.adminToken),
      alice: await signIn(keys.alice),
      root: await signIn(keys.root),
    })
  }

  async close(): Promise<void> {
    for (const each of [this.admin, this.alice, this.root]) each.ws.terminate()
    await this.broker.close()
  }

  /** All cells of a row. @returns what went otherwise than it must */
  async tryRow(row: Row): Promise<readonly string[]> {
    const wrong: string[] = []
    for (const [i, { column }] of cellsOf(row.needs(this.names(0))).entries()) {
      let problem = await this.tryNth(row, i)
      // A member whose rights were taken away leaves a moment later, perhaps just now: what leaves a trace does so with other names, too.
      if (problem === trace) problem = await this.tryNth(row, i)
      if (problem !== undefined) wrong.push(`${row.op}, ${column}: ${problem}`)
    }
    this.counts.wrong += wrong.length
    return wrong
  }

  /** Presents a token that can do what the scope says at most. */
  async narrow(of: RawClient, scope: readonly ScopeGrant[]): Promise<void> {
    const { token } = await of.call('mintToken', { grants: scope })
    await of.call('authenticate', { auth: { token } })
  }

  private tryNth(row: Row, i: number): Promise<string | undefined> {
    const names = this.names(this.counts.attempted + 1)
    return this.tryCell(row, cellsOf(row.needs(names))[i] as Cell, names)
  }

  private async tryCell(row: Row, cell: Cell, names: Names): Promise<string | undefined> {
    const { scope, acls: bindings, allowed, missing } = cell
    if (missing !== true) await this.prepare(names, row)
    if (bindings.length > 0) await this.admin.call('createAcls', { bindings })
    const isSuper = cell.column.startsWith('super user')
    const who = isSuper ? this.root : this.alice
    if (scope !== undefined) await this.narrow(who, scope)
    const before = this.state()
    const reply = await who.request(row.op, row.fields(names))
    const after = this.state()
    const token = isSuper ? this.rootKey : this.aliceKey
    if (scope !== undefined) await who.call('authenticate', { auth: { token } })
    for (const principal of [alice, 'User:bob', 'User:*'])
      await this.admin.call('deleteAcls', { filter: { principal } })
    this.counts.attempted++
    const error = reply['error'] as WireError | undefined
    if (allowed) {
      this.counts.allowed++
      const isPast = error === undefined || row.may?.includes(error.code) === true
      return isPast ? undefined : `${error.code}: ${error.message}`
    }
    this.counts.refused++
    if (error?.code !== 'AUTHORIZATION_FAILED') return `not denied: ${error?.code ?? 'ok'}`
    if (!shape.test(error.message)) return `says ${error.message}`
    return after === before ? undefined : trace
  }

  private names(n: number): Names {
    return { topic: `t${n}-a`, second: `t${n}-b`, group: `g${n}`, key: this.aliceKey }
  }

  private state(): string {
    return this.broker.running?.broker.stateHash().hash ?? ''
  }

  private async prepare({ topic, second, group }: Names, row: Row): Promise<void> {
    await this.admin.call('createTopic', { topic: second, ifNotExists: true })
    if (row.given === 'no topic') return
    await this.admin.call('createTopic', { topic, ifNotExists: true })
    const offsets = [{ topic, partition: 0, offset: 0 }]
    if (row.given === 'offsets') await this.admin.call('commitOffsets', { group, offsets })
    if (row.given === 'share') await this.admin.call('openShareGroup', { group, topics: [topic] })
  }
}

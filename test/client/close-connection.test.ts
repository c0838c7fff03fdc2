// An operator ends a connection: its client goes on at once, and nothing that it was doing is lost.

import { expect, it } from 'vitest'
import { useMemoryBroker } from './memory-broker.ts'

const { client } = useMemoryBroker()

it('a client whose connection is closed dials again, and loses nothing that it sends', async () => {
  const [operator, victim] = [await client(), await client()]
  const producer = victim.producer({ lingerMs: 0 })
  await producer.send('t', { value: '0' })
  const { connections } = await operator.admin().listConnections()
  expect(connections).toHaveLength(2)
  const id = connections[1]?.id ?? 0
  const sent = Array.from({ length: 50 }, (_, i) => producer.send('t', { value: String(i + 1) }))
  expect(await operator.admin().closeConnection(id)).toBe(true)
  await Promise.all(sent)
  const values: string[] = []
  for await (const { value } of operator.read('t', { from: 'beginning', until: 'end' }))
    values.push(String(value))
  expect(values).toEqual(Array.from({ length: 51 }, (_, i) => String(i)))
  await expect
    .poll(async () => (await operator.admin().listConnections()).connections.map(c => c.id))
    .not.toContain(id)
  expect(await operator.admin().closeConnection(id)).toBe(false)
})

it('an operator may close its own, and hears so first', async () => {
  const operator = await client()
  const [own] = (await operator.admin().listConnections()).connections
  expect(await operator.admin().closeConnection(own?.id ?? 0)).toBe(true)
  expect((await operator.admin().listConnections()).total).toBeGreaterThanOrEqual(1)
})

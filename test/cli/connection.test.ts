// `logloom connection`: what it lists is there, and what it closes ends.

import { describe, expect, it } from 'vitest'
import { start, startBroker } from './cli-process.ts'

interface Listing {
  readonly total: number
  readonly connections: readonly { readonly id: number; readonly client: string }[]
}

describe('logloom connection', () => {
  it('lists who is connected and closes one, which comes back', async () => {
    const broker = await startBroker()
    await broker.run(['topic', 'create', 'orders'])
    const consumer = start(['consume', 'orders', '-o', 'beginning', '--url', broker.url])
    const list = async (...words: string[]): Promise<Listing> => {
      const { stdout } = await broker.run(['connection', 'list', '--format', 'json', ...words])
      return JSON.parse(stdout) as Listing
    }
    // Itself, and the consumer.
    await expect.poll(async () => (await list()).total).toBe(2)
    const [first] = (await list()).connections
    expect(await list('--limit', '1')).toEqual({ total: 2, connections: [first] })
    const table = await broker.run(['connection', 'list', '--limit', '1'])
    expect(table.stdout).toMatch(/^ID +CLIENT +PRINCIPAL +ADDRESS .*\n *\d+ /)
    expect(table.stderr).toBe('1 of 2 connections\n')
    const id = String(first?.id)
    const closed = await broker.run(['connection', 'close', id])
    expect(closed).toMatchObject({ code: 0, stdout: `closed connection ${id}\n` })
    const again = await broker.run(['connection', 'close', id, '--format', 'json'])
    expect(again.code).toBe(1)
    expect(JSON.parse(again.stderr)).toMatchObject({
      error: { code: 'INVALID_REQUEST', message: expect.stringContaining(id) as string },
    })
    await broker.run(['produce', 'orders'], { input: 'after\n' })
    await consumer.until(stdout => stdout.includes('after'))
  })

  it.each([
    [['close'], 'id'],
    [['close', 'x'], 'whole number'],
    [['close', '0'], 'whole number'],
    [['list', '--limit', '-1'], 'whole number'],
  ])('%j is wrong usage', async (words, why) => {
    const broker = await startBroker()
    const result = await broker.run(['connection', ...words])
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining(why) as string })
  })
})

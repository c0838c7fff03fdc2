// What a broker alone says of itself: the levels, and that they are left again.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { diskFindings, diskFreeBytesLow } from '../../broker/disk-space.ts'
import { degraded, judge, noted, unavailable } from '../../broker/health.ts'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { connect } from '../../client/index.ts'

let broker: RunningBroker | undefined
let directory: string | undefined

afterEach(async () => {
  await broker?.close()
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true })
})

const statusOf = (running: RunningBroker): string => running.broker.health().status

async function until(found: () => boolean): Promise<void> {
  while (!found()) await new Promise(resolve => setTimeout(resolve, 20))
}

it('the worst finding decides, and is told first', () => {
  expect(judge([])).toEqual({ status: 'ok', problems: [] })
  expect(judge([noted('a')])).toEqual({ status: 'ok', problems: ['a'] })
  expect(judge([noted('a'), degraded('b')])).toEqual({ status: 'degraded', problems: ['b', 'a'] })
  expect(judge([degraded('b'), unavailable('c'), noted('a')])).toEqual({
    status: 'unavailable',
    problems: ['c', 'b', 'a'],
  })
})

it('what explains all the others is told alone', () => {
  const removed = { ...unavailable('removed'), alone: true } as const
  expect(judge([unavailable('does not answer'), degraded('b'), removed])).toEqual({
    status: 'unavailable',
    problems: ['removed'],
  })
})

it('a disk that is nearly full is told before it is full', () => {
  const total = 2 * diskFreeBytesLow
  expect(diskFindings('/data', { free: diskFreeBytesLow, total })).toEqual([])
  expect(diskFindings('/data', { free: diskFreeBytesLow - 1, total })).toEqual([
    degraded(expect.stringMatching(/\/data is nearly full.*free space/)),
  ])
})

describe('a broker', { timeout: 20_000 }, () => {
  it('without a directory is ok in memory, which it notes', async () => {
    broker = await startBroker({ loglet: 'memory', port: 0 })
    expect(broker.broker.health()).toMatchObject({
      status: 'ok',
      problems: [expect.stringContaining('volatile')],
    })
  })

  it('with a directory is degraded while records are in memory only', async () => {
    directory = mkdtempSync(join(tmpdir(), 'logloom-health-'))
    const running = await startBroker({ data: join(directory, 'data'), loglet: 'file', port: 0 })
    broker = running
    expect(statusOf(running)).toBe('ok')
    await running.broker.switchLog('memory')
    expect(running.broker.health()).toMatchObject({
      status: 'degraded',
      problems: [expect.stringMatching(/volatile.*log switch file/)],
    })
    await running.broker.switchLog('file')
    await until(() => statusOf(running) === 'ok')
    expect(running.broker.health().problems).toEqual([])
  })

  it('is unavailable while its storage takes no more, until it does again', async () => {
    const running = await startBroker({
      loglet: 'memory',
      port: 0,
      memoryLogletBytesMax: 200_000,
    })
    broker = running
    const client = await connect(running.url)
    const send = async (bytes: number): Promise<void> => {
      const producer = client.producer({ deliveryTimeoutMs: 300 })
      try {
        await producer.send('t', { value: 'x'.repeat(bytes) })
      } finally {
        await producer.close()
      }
    }
    await send(1000)
    await expect(send(300_000)).rejects.toBeDefined()
    await until(() => statusOf(running) === 'unavailable')
    expect(running.broker.health().problems[0]).toMatch(/STORAGE_FULL.*free space/)
    await send(1000)
    expect(statusOf(running)).toBe('ok')
    await client.close()
  })
})

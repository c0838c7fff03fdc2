// A broker without a data directory leaves nothing behind.

import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startBroker } from '../../broker/index.ts'
import { RawClient } from './raw-client.ts'

describe('a broker in memory', () => {
  const home = process.cwd()
  let directory: string

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'logloom-memory-'))
    process.chdir(directory)
  })

  afterEach(async () => {
    process.chdir(home)
    await rm(directory, { recursive: true, force: true })
  })

  it('writes no file, not even when its log is trimmed, and the next one starts empty', async () => {
    for (let round = 0; round < 2; round++) {
      const broker = await startBroker({ loglet: 'memory', port: 0 })
      const client = await RawClient.connect(broker.url)
      expect(await client.call('listTopics')).toMatchObject({ topics: [] })
      await client.call('publish', { records: [{ topic: 't', value: 'v' }] })
      const { tail } = await client.call('describeLog')
      expect(await client.call('trimLog', { lsn: tail, force: true })).toMatchObject({
        trim: expect.any(Number),
      })
      await client.close()
      await broker.close()
      expect(await readdir(directory)).toEqual([])
    }
  })
})

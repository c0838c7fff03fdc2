// `logloom snapshot` as its user runs it: what it prints, how it ends, and what is left when it is killed.

import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { run, start, startBroker, temporaryDirectory } from '../cli/cli-process.ts'
import { connected, dump } from './dump.ts'

const line = 'x'.repeat(1000)

async function filled(megabytes: number) {
  const broker = await startBroker()
  await broker.run(['topic', 'create', 'big', '--partitions', '2'])
  const input = `${line}\n`.repeat(1000 * megabytes)
  const produced = await broker.run(['produce', 'big'], { input })
  expect(produced.code).toBe(0)
  return broker
}

describe('logloom snapshot', () => {
  it('takes, lists and restores, as table and as JSON', async () => {
    const from = await filled(1)
    const folder = temporaryDirectory()
    const created = await from.run(['snapshot', 'create', folder, '--format', 'json'])
    expect(created.stderr).toBe('')
    const made = JSON.parse(created.stdout) as { path: string; totals: unknown; position: number }
    expect(made.totals).toMatchObject({ topics: 1, partitions: 2, records: 1000 })
    expect(readdirSync(folder)).toEqual([made.path.slice(folder.length + 1)])

    const listed = await run(['snapshot', 'list', folder, '--verify', '--format', 'json'])
    expect(JSON.parse(listed.stdout)).toMatchObject({
      snapshots: [{ state: 'verified', position: made.position, records: 1000 }],
    })
    expect((await run(['snapshot', 'list', folder])).stdout).toMatch(/NAME +TAKEN +POSITION/)

    const to = await startBroker()
    const dry = await to.run(['snapshot', 'restore', made.path, '--dry-run', '--format', 'json'])
    expect(JSON.parse(dry.stdout)).toMatchObject({ outcome: 'dry run' })
    const restored = await to.run(['snapshot', 'restore', made.path])
    expect(restored.code).toBe(0)
    expect(restored.stdout).toMatch(/OUTCOME +restored\n/)
    const again = await to.run(['snapshot', 'restore', made.path, '--format', 'json'])
    expect(JSON.parse(again.stdout)).toMatchObject({ outcome: 'already restored' })

    const taken = await from.run(['snapshot', 'restore', made.path, '--format', 'json'])
    expect(taken.code).toBe(1)
    expect(JSON.parse(taken.stderr)).toMatchObject({ error: { code: 'TOPIC_EXISTS' } })
    const same = await from.run(['snapshot', 'create', made.path, '--format', 'json'])
    expect(same.code).toBe(1)
    expect(JSON.parse(same.stderr)).toMatchObject({ error: { code: 'INVALID_REQUEST' } })
  })

  it('says which file is damaged and where, and ends with 1', async () => {
    const folder = temporaryDirectory()
    const path = join(folder, 'no.snapshot')
    writeFileSync(path, 'this is no snapshot, but long enough to be looked at')
    const listed = await run(['snapshot', 'list', folder, '--format', 'json'])
    expect(listed.code).toBe(1)
    expect(JSON.parse(listed.stdout)).toMatchObject({ snapshots: [{ state: 'corrupt' }] })
    const broker = await startBroker()
    const restored = await broker.run(['snapshot', 'restore', path, '--format', 'json'])
    expect(restored.code).toBe(1)
    const { error } = JSON.parse(restored.stderr) as { error: { code: string; message: string } }
    expect(error.code).toBe('SNAPSHOT_CORRUPT')
    expect(error.message).toContain(`${path}: byte 0: this is no snapshot`)
  })

  it('says that there is no such folder to write to', async () => {
    const broker = await startBroker()
    const path = join(temporaryDirectory(), 'absent', 'one.snapshot')
    const created = await broker.run(['snapshot', 'create', path, '--format', 'json'])
    expect(created.code).toBe(1)
    const { error } = JSON.parse(created.stderr) as { error: { code: string; message: string } }
    expect(error.code).toBe('INVALID_REQUEST')
    expect(error.message).toContain(`${path} cannot be written: ENOENT`)
  })

  it('killed while it takes one leaves no archive, and takes one when run again', async () => {
    const from = await filled(40)
    const folder = temporaryDirectory()
    const path = join(folder, 'one.snapshot')
    const killed = start(['snapshot', 'create', path, '--url', from.url])
    await expect
      .poll(() => readdirSync(folder).some(name => name.endsWith('.partial')), {
        interval: 1,
        timeout: 30_000,
      })
      .toBe(true)
    killed.child.kill('SIGKILL')
    expect((await killed.exited).code).toBe('SIGKILL')
    expect(readdirSync(folder).filter(name => name.endsWith('.snapshot'))).toEqual([])
    const listed = await run(['snapshot', 'list', folder, '--format', 'json'])
    expect(JSON.parse(listed.stdout)).toMatchObject({ snapshots: [{ state: 'unfinished' }] })
    expect((await from.run(['snapshot', 'create', path])).code).toBe(0)
    const verified = await run(['snapshot', 'list', folder, '--verify', '--format', 'json'])
    const { snapshots } = JSON.parse(verified.stdout) as { snapshots: { state: string }[] }
    expect(snapshots.map(({ state }) => state).sort((a, b) => (a < b ? -1 : 1))).toEqual([
      'unfinished',
      'verified',
    ])
  })

  it('killed while it restores shows nothing, and restores everything once when run again', async () => {
    const from = await filled(40)
    const path = join(temporaryDirectory(), 'one.snapshot')
    expect((await from.run(['snapshot', 'create', path])).code).toBe(0)
    const to = await startBroker()
    const killed = start(['snapshot', 'restore', path, '--url', to.url])
    const appliedOf = (): Promise<number> =>
      connected(
        to.url,
        async connection => (await connection.call('snapshot'))['position'] as number,
      )
    await expect.poll(appliedOf, { interval: 1, timeout: 30_000 }).toBeGreaterThan(5)
    killed.child.kill('SIGKILL')
    await killed.exited
    const topics = await to.run(['topic', 'list', '--format', 'json'])
    expect(JSON.parse(topics.stdout)).toEqual({ topics: [] })
    // The broker, too.
    await to.stop('SIGKILL')
    const second = await startBroker({ data: to.data })
    const restored = await second.run(['snapshot', 'restore', path, '--format', 'json'])
    expect(JSON.parse(restored.stdout)).toMatchObject({ outcome: 'restored' })
    const before = await connected(from.url, connection => dump(connection))
    expect(await connected(second.url, connection => dump(connection))).toEqual(before)
  })

  it('drops what an unfinished restore has made', async () => {
    const from = await filled(40)
    const path = join(temporaryDirectory(), 'one.snapshot')
    expect((await from.run(['snapshot', 'create', path])).code).toBe(0)
    const to = await startBroker()
    const killed = start(['snapshot', 'restore', path, '--url', to.url])
    const isMade = (): Promise<string> =>
      connected(to.url, async connection =>
        connection.call('createTopic', { topic: 'big', ifNotExists: true }, { timeoutMs: 1 }).then(
          () => 'made',
          (error: { code: string }) => error.code,
        ),
      )
    // Only a name that is being restored is refused so.
    const appliedOf = (): Promise<number> =>
      connected(
        to.url,
        async connection => (await connection.call('snapshot'))['position'] as number,
      )
    await expect.poll(appliedOf, { interval: 1, timeout: 30_000 }).toBeGreaterThan(5)
    killed.child.kill('SIGKILL')
    await killed.exited
    const isRestored = (await to.run(['topic', 'list'])).stdout.includes('big')
    // It was too quick to be killed in time: nothing is left to be dropped.
    if (isRestored) return
    expect(await isMade()).toMatch(/TOPIC_RESTORING|TIMEOUT/)
    const unfinished = await to.run(['snapshot', 'unfinished', '--format', 'json'])
    expect(JSON.parse(unfinished.stdout)).toMatchObject({ restores: [{ topics: 1 }] })
    const dropped = await to.run(['snapshot', 'restore', path, '--drop', '--format', 'json'])
    expect(JSON.parse(dropped.stdout)).toEqual({ dropped: 1 })
    const none = await to.run(['snapshot', 'unfinished', '--format', 'json'])
    expect(JSON.parse(none.stdout)).toEqual({ restores: [] })
    expect((await to.run(['topic', 'create', 'big'])).code).toBe(0)
  })
})

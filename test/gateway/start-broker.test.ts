// A broker to embed: what it needs, what it refuses, and that it goes away whole.

import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../broker/index.ts'
import { scrape } from '../metrics-page.ts'
import { handBatch, RawClient, valuesOf, type Frame } from './raw-client.ts'

const directories: string[] = []
const started: RunningBroker[] = []

afterEach(async () => {
  await Promise.all(started.splice(0).map(broker => broker.close()))
  for (const path of directories.splice(0)) rmSync(path, { recursive: true, force: true })
})

function newDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'logloom-start-'))
  directories.push(path)
  return path
}

async function start(options: StartBrokerOptions): Promise<RunningBroker> {
  const broker = await startBroker({ port: 0, ...options })
  started.push(broker)
  return broker
}

const refusal = (options: StartBrokerOptions): Promise<unknown> =>
  startBroker({ port: 0, ...options }).then(
    async broker => {
      await broker.close()
      return 'started'
    },
    (error: unknown) => error,
  )

async function readAll(url: string, topic: string): Promise<string[]> {
  const client = await RawClient.connect(url)
  const { items } = await client.call('fetch', {
    topic,
    partition: 0,
    from: 'beginning',
    maxBytes: 4 << 20,
  })
  await client.close()
  return (items as Frame[]).flatMap(item =>
    item['batch'] === undefined ? [] : valuesOf(item['batch']),
  )
}

async function produce(url: string, topic: string, value: string): Promise<void> {
  const client = await RawClient.connect(url)
  await client.call('produce', { topic, partition: 0, batch: handBatch([{ value }]) })
  await client.close()
}

/** When the directory that a broker uses by default last changed; `npm start` may have left one here. */
function defaultDirectory(): number | undefined {
  return existsSync('.logloom') ? statSync('.logloom').mtimeMs : undefined
}

describe('a broker in memory', () => {
  it('needs no directory and says where it listens', async () => {
    const before = defaultDirectory()
    const broker = await start({ loglet: 'memory' })
    expect(broker).toMatchObject({ data: 'memory', loglet: 'memory', pid: process.pid })
    expect(broker.url).toBe(`ws://127.0.0.1:${broker.port}`)
    await produce(broker.url, 't', 'v')
    expect(await readAll(broker.url, 't')).toEqual(['v'])
    expect(defaultDirectory()).toBe(before)
  })

  it('shares nothing with another one in the same process', async () => {
    const [first, second] = [await start({ loglet: 'memory' }), await start({ loglet: 'memory' })]
    await produce(first.url, 'one', 'v')
    const client = await RawClient.connect(second.url)
    expect(await client.call('listTopics')).toMatchObject({ topics: [] })
    const metrics = await scrape(second)
    expect(metrics).not.toContain('topic="one"')
    await client.close()
  })

  it('loads neither the store, nor the logger, nor the metrics library', async () => {
    const program = `
      import { createRequire } from 'node:module'
      import { startBroker } from ${JSON.stringify(new URL('../../dist/broker/index.js', import.meta.url).href)}
      const broker = await startBroker({ loglet: 'memory', port: 0 })
      const loaded = [...Object.keys(createRequire(import.meta.url).cache), ...process.report.getReport().sharedObjects]
      console.log(['lmdb', 'pino', 'prom-client', 'commander', 'ws'].filter(name => loaded.some(path => path.includes('/node_modules/' + name + '/') || path.includes('/@lmdb/' + name))).join())
      await broker.close()`
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--input-type=module',
      '-e',
      program,
    ])
    expect(stdout.trim()).toBe('ws')
  })

  it('lets the process end once it is closed', async () => {
    const program = `
      import { startBroker } from ${JSON.stringify(new URL('../../dist/broker/index.js', import.meta.url).href)}
      const broker = await startBroker({ loglet: 'memory', port: 0 })
      await fetch(broker.url.replace('ws', 'http') + '/metrics').then(r => r.text())
      const ws = new (await import('ws')).WebSocket(broker.url)
      await new Promise(resolve => ws.on('open', resolve))
      await Promise.all([broker.close(), broker.close()])
      console.log('closed')`
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--input-type=module', '-e', program],
      {
        cwd: new URL('../..', import.meta.url).pathname,
      },
    )
    expect(stdout.trim()).toBe('closed')
  })
})

describe('a broker with a directory', () => {
  it('has everything again after a restart', async () => {
    const data = newDirectory()
    const first = await start({ data, loglet: 'striped:2:file' })
    expect(first).toMatchObject({ data, loglet: 'striped:2:file' })
    for (const value of ['a', 'b', 'c']) await produce(first.url, 't', value)
    const before = first.broker.stateHash()
    await first.close()
    const second = await start({ data })
    expect(second.loglet).toBe('striped:2:file')
    expect(second.broker.replayed).toEqual({ applied: before.applied, hash: before.hash })
    expect(await readAll(second.url, 't')).toEqual(['a', 'b', 'c'])
  })

  it('lets no second one in, and the next one in after it', async () => {
    const data = newDirectory()
    const first = await start({ data, loglet: 'file' })
    expect(await refusal({ data })).toMatchObject({ code: 'DATA_DIR_LOCKED' })
    await first.close()
    await start({ data })
  })

  it('leaves no lock behind when it cannot start', async () => {
    const data = newDirectory()
    expect(await refusal({ data, loglet: 'no-such' })).toMatchObject({ code: 'INVALID_SPEC' })
    const blocker: Server = createServer()
    await new Promise<void>(resolve => blocker.listen(0, '127.0.0.1', resolve))
    const { port } = blocker.address() as { port: number }
    expect(await refusal({ data, loglet: 'file', port })).toMatchObject({
      code: 'PORT_IN_USE',
      details: { port },
    })
    blocker.close()
    expect(existsSync(join(data, 'LOCK'))).toBe(false)
    await start({ data, loglet: 'file' })
  })
})

describe('a broker that cannot be', () => {
  it('is refused on an address that others reach, unless that is wanted', async () => {
    for (const host of ['0.0.0.0', '::', '192.0.2.1'])
      expect(await refusal({ loglet: 'memory', host })).toMatchObject({
        code: 'INSECURE_PUBLIC_BIND',
        details: { host },
      })
    const open = await start({ loglet: 'memory', host: '0.0.0.0', insecurePublic: true })
    const client = await RawClient.connect(`ws://127.0.0.1:${open.port}`)
    await client.close()
  })

  it('is refused for an address that is not here', async () => {
    const error = await refusal({ loglet: 'memory', host: '192.0.2.1', insecurePublic: true })
    expect(error).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('192.0.2.1'),
    })
  })

  it('is refused for settings and specs that are wrong', async () => {
    expect(await refusal({ loglet: 'memory', appendsInFlightMax: 0 })).toMatchObject({
      code: 'INVALID_CONFIG',
    })
    expect(await refusal({ loglet: 'striped:65:memory', data: newDirectory() })).toMatchObject({
      code: 'INVALID_SPEC',
    })
    expect(await refusal({ loglet: 'memory,size=x' })).toMatchObject({ code: 'INVALID_SPEC' })
  })
})

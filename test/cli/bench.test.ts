// `logloom bench …` on a broker of its own: numbers that fit together, and nothing left behind.

import { describe, expect, it } from 'vitest'
import { start, startBroker } from './cli-process.ts'

type Broker = Awaited<ReturnType<typeof startBroker>>

const run = async (broker: Broker, ...args: readonly string[]) => {
  const { code, stdout, stderr } = await broker.run(['bench', ...args, '--format', 'json'])
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return JSON.parse(stdout) as Record<string, number>
}

const topics = async (broker: Broker): Promise<number> => {
  const { stdout } = await broker.run(['topic', 'list', '--format', 'json'])
  return (JSON.parse(stdout) as { topics: unknown[] }).topics.length
}

describe('logloom bench', () => {
  it('produces, and takes its topic away', async () => {
    const broker = await startBroker()
    const result = await run(broker, 'produce', '--seconds', '1', '--clients', '2', '--size', '100')
    expect(result['records']).toBeGreaterThan(100)
    expect(result['recordsPerSecond']).toBeGreaterThan(100)
    expect(await topics(broker)).toBe(0)
  })

  it('reads what is there as often as there are clients, and leaves it', async () => {
    const broker = await startBroker()
    await broker.run(['produce', 'own'], { input: 'a\nb\nc\n' })
    const result = await run(broker, 'consume', '--topic', 'own', '--clients', '3')
    expect(result['records']).toBe(9)
    expect(await topics(broker)).toBe(1)
  })

  it('times records from when they were due', async () => {
    const broker = await startBroker()
    const result = await run(broker, 'latency', '--seconds', '1', '--rate', '500')
    const { sent = 0, acked, errors, p50Ms = 0, p99Ms = 0, maxMs = 0 } = result
    expect(sent).toBeGreaterThan(400)
    expect([acked, errors]).toEqual([sent, 0])
    expect(p50Ms).toBeGreaterThan(0)
    expect(p99Ms).toBeGreaterThanOrEqual(p50Ms)
    expect(maxMs).toBeGreaterThanOrEqual(p99Ms)
  })

  it('goes through protocols and back, also when one of them is nonsense', async () => {
    const broker = await startBroker()
    const args = [
      'switch',
      'striped:2:memory',
      '--seconds',
      '1',
      '--rate',
      '200',
      '--format',
      'json',
    ]
    const { stdout } = await broker.run(['bench', ...args])
    const report = JSON.parse(stdout) as { errors: number; protocols: { spec: string }[] }
    expect(report.errors).toBe(0)
    const [first] = report.protocols
    const specs = report.protocols.map(({ spec }) => spec)
    expect(specs).toEqual([first?.spec, 'striped:2:memory', first?.spec])
    const bad = await broker.run([
      'bench',
      'switch',
      'striped:2:memory',
      'nonsense',
      '--seconds',
      '1',
    ])
    expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining('INVALID_SPEC') })
    const log = await broker.run(['log', 'describe', '--format', 'json'])
    const { segments } = JSON.parse(log.stdout) as { segments: { spec: string }[] }
    expect(segments.at(-1)?.spec).toBe(first?.spec)
    expect(await topics(broker)).toBe(0)
  })

  it('ends when it is told to, with what it has', async () => {
    const broker = await startBroker()
    const args = ['bench', 'produce', '--seconds', '600', '--format', 'json', '--url', broker.url]
    const process = start(args)
    while ((await topics(broker)) === 0) await new Promise(resolve => setTimeout(resolve, 20))
    await new Promise(resolve => setTimeout(resolve, 300))
    process.child.kill('SIGINT')
    expect((await process.exited).code).toBe(0)
    expect(JSON.parse(process.stdout())).toMatchObject({ clients: 4 })
    expect(await topics(broker)).toBe(0)
  })

  it('refuses what cannot be sent', async () => {
    const broker = await startBroker()
    const result = await broker.run(['bench', 'produce', '--size', '900001'])
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining('900000') })
  })
})

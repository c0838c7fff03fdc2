// `logloom consume -q`, and `logloom group` on what it leaves behind.

import { describe, expect, it } from 'vitest'
import { brokerWithRecords, linesOf, recordsInput, start, startBroker } from './cli-process.ts'

describe('logloom consume -q', () => {
  it('takes what it prints, and leaves the rest to others at once', async () => {
    const broker = await brokerWithRecords(2)
    const begin = ['consume', 't', '-q', 'g', '-o', 'beginning']
    const first = await broker.run([...begin, '-n', '7'])
    const second = await broker.run([...begin, '-n', '20'])
    const rest = await broker.run([...begin, '-e'])
    const all = [first, second, rest].flatMap(({ stdout }) => linesOf(stdout))
    expect([first.code, second.code, rest.code]).toEqual([0, 0, 0])
    expect(all).toHaveLength(60)
    expect(new Set(all).size).toBe(60)
    const described = await broker.run(['group', 'describe', 'g', '--format', 'json'])
    expect(JSON.parse(described.stdout)).toMatchObject({
      type: 'share',
      partitions: [{ lag: 0 }, { lag: 0 }],
    })
  })

  it('shares one topic with a second process, and both end when they are told to', async () => {
    const broker = await brokerWithRecords(2)
    const args = ['consume', 't', '-q', 'g', '-o', 'beginning', '--url', broker.url]
    const both = [start(args), start(args)]
    const printed = (): string[] => both.flatMap(each => linesOf(each.stdout()))
    while (printed().length < 60) await new Promise(resolve => setTimeout(resolve, 20))
    await broker.run(['produce', 't', '-K', ':'], { input: recordsInput })
    while (printed().length < 120) await new Promise(resolve => setTimeout(resolve, 20))
    for (const { child } of both) child.kill('SIGTERM')
    expect(await Promise.all(both.map(async ({ exited }) => (await exited).code))).toEqual([0, 0])
    const counts = new Map<string, number>()
    for (const line of printed()) counts.set(line, (counts.get(line) ?? 0) + 1)
    expect([...counts.values()].every(count => count === 2)).toBe(true)
  })

  it('refuses what makes no sense with a queue', async () => {
    const broker = await startBroker()
    const refusalOf = async (...more: readonly string[]): Promise<string> => {
      const { code, stderr } = await broker.run(['consume', 't', '-q', 'g', ...more])
      expect(code).toBe(2)
      return stderr
    }
    expect(await refusalOf('-p', '0')).toContain('-p')
    expect(await refusalOf('-g', 'other')).toContain('-g')
    expect(await refusalOf('-o', '5')).toContain('group reset')
    expect(await refusalOf('--as-of', '3')).toContain('--as-of')
  })
})

describe('logloom group', () => {
  it('lists, resets and deletes a share group as it does the other kind', async () => {
    const broker = await brokerWithRecords(2)
    const all = ['consume', 't', '-q', 'g', '-o', 'beginning', '-e']
    await broker.run(all)
    const { stdout } = await broker.run(['group', 'list', '--format', 'json'])
    expect(JSON.parse(stdout)).toMatchObject({ groups: [{ group: 'g', type: 'share', lag: 0 }] })
    const reset = ['group', 'reset', 'g', '--to', 'beginning']
    expect((await broker.run([...reset, '--dry-run'])).code).toBe(0)
    expect(linesOf((await broker.run(all)).stdout)).toEqual([])
    expect((await broker.run(reset)).code).toBe(0)
    expect(linesOf((await broker.run(all)).stdout)).toHaveLength(60)
    expect((await broker.run(['group', 'delete', 'g'])).code).toBe(0)
    expect(await broker.run(['group', 'describe', 'g'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('UNKNOWN_GROUP'),
    })
  })

  it('keeps the two kinds apart: a name is one or the other', async () => {
    const broker = await brokerWithRecords(2)
    await broker.run(['consume', 't', '-q', 'g', '-n', '1', '-o', 'beginning'])
    expect(await broker.run(['consume', 't', '-g', 'g', '-n', '1'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('INCONSISTENT_GROUP_PROTOCOL'),
    })
  })
})

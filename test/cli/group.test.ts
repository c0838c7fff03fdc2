// `logloom group` and `logloom consume -g`.

import { describe, expect, it } from 'vitest'
import { brokerWithRecords, linesOf, start, startBroker } from './cli-process.ts'

describe('logloom consume -g', () => {
  it('goes on where the group was: what was printed is committed, nothing else', async () => {
    const broker = await brokerWithRecords(3)
    const first = await broker.run(['consume', 't', '-g', 'g', '-n', '7'])
    const second = await broker.run(['consume', 't', '-g', 'g', '-n', '20'])
    const rest = await broker.run(['consume', 't', '-g', 'g', '-e'])
    const all = [first, second, rest].flatMap(({ stdout }) => linesOf(stdout))
    expect(all).toHaveLength(60)
    expect(new Set(all).size).toBe(60)
    expect(await broker.run(['consume', 't', '-g', 'g', '-e'])).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    })
  })

  it('shares with a second process, and commits when it is stopped', async () => {
    const broker = await brokerWithRecords(3)
    const a = start(['consume', 't', '-g', 'g', '--url', broker.url])
    const b = start(['consume', 't', '-g', 'g', '--url', broker.url])
    const printed = (): number => linesOf(a.stdout()).length + linesOf(b.stdout()).length
    while (printed() < 60) await new Promise(resolve => setTimeout(resolve, 20))
    const members = async (): Promise<number> => {
      const { stdout } = await broker.run(['group', 'describe', 'g', '--format', 'json'])
      return (JSON.parse(stdout) as { members: unknown[] }).members.length
    }
    while ((await members()) < 2);
    a.child.kill('SIGINT')
    b.child.kill('SIGTERM')
    expect([(await a.exited).code, (await b.exited).code]).toEqual([0, 0])
    const { stdout } = await broker.run(['group', 'list', '--format', 'json'])
    expect(JSON.parse(stdout)).toMatchObject({ groups: [{ group: 'g', state: 'empty', lag: 0 }] })
  })

  it('refuses what makes no sense with a group', async () => {
    const broker = await startBroker()
    const partition = await broker.run(['consume', 't', '-g', 'g', '-p', '0'])
    expect(partition).toMatchObject({ code: 2, stderr: expect.stringContaining('-p') })
    const offset = await broker.run(['consume', 't', '-g', 'g', '-o', '5'])
    expect(offset).toMatchObject({ code: 2, stderr: expect.stringContaining('group reset') })
  })
})

describe('logloom group', () => {
  it('describes, resets and deletes, and shows first what it would do', async () => {
    const broker = await brokerWithRecords(3)
    await broker.run(['consume', 't', '-g', 'g', '-e'])
    const text = (await broker.run(['group', 'describe', 'g'])).stdout
    expect(text).toMatch(/GROUP +g\nSTATE +empty/)
    expect(text).toMatch(/t +2 +\d+ +\d+ +0 +0 +-/)
    const reset = (more: readonly string[]) =>
      broker.run(['group', 'reset', 'g', '--format', 'json', ...more])
    const dry = JSON.parse((await reset(['--to', 'shift:-2', '--dry-run'])).stdout) as {
      offsets: { from: number; to: number }[]
    }
    expect(dry).toMatchObject({ dryRun: true })
    for (const { from, to } of dry.offsets) expect(to).toBe(from - 2)
    expect(linesOf((await broker.run(['consume', 't', '-g', 'g', '-e'])).stdout)).toEqual([])
    await reset(['--to', 'shift:-2'])
    expect(linesOf((await broker.run(['consume', 't', '-g', 'g', '-e'])).stdout)).toHaveLength(6)
    await reset(['--to', 'beginning', '--topic', 't'])
    expect(linesOf((await broker.run(['consume', 't', '-g', 'g', '-e'])).stdout)).toHaveLength(60)
    expect((await broker.run(['group', 'delete', 'g', '--dry-run'])).stdout).toContain('would')
    expect((await broker.run(['group', 'delete', 'g'])).code).toBe(0)
    expect(await broker.run(['group', 'describe', 'g'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('UNKNOWN_GROUP'),
    })
  })

  it('does not move the offsets of a group that is at work', async () => {
    const broker = await brokerWithRecords(3)
    const member = start(['consume', 't', '-g', 'g', '--url', broker.url])
    await member.until(stdout => linesOf(stdout).length === 60)
    expect(await broker.run(['group', 'reset', 'g', '--to', 'end'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('GROUP_NOT_EMPTY'),
    })
    member.child.kill('SIGINT')
    await member.exited
  })
})

// Running scenarios: what fails stays by itself, and nothing is left behind.

import { existsSync, mkdtempSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BenchContext } from '../../bench/context.ts'
import { startProgram } from '../../bench/processes.ts'
import { readResults, type Run } from '../../bench/results.ts'
import { runScenarios } from '../../bench/run.ts'
import { NotRunError, scenario, type Scenario } from '../../bench/scenario.ts'

const run: Run = {
  begun: '2026-01-01T10:00:00.000Z',
  command: 'npm run bench',
  commit: 'abc',
  machine: { cpu: 'x', memoryGb: 1, system: 'linux', node: 'v20', fileSystem: 'ext4' },
}

const of = (name: string, work: (context: BenchContext) => Promise<number>): Scenario =>
  scenario<null, number>({
    name,
    group: 'limits',
    title: name,
    shows: '',
    params: { tiny: null, short: null, full: null },
    seconds: () => 0.05,
    run: async (_, context) => work(context),
    section: () => ({ body: '', plots: [], headlines: [] }),
  })

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('running scenarios', () => {
  const { BENCH_DIR } = process.env
  let results = ''
  let said = ''
  const options = () => ({
    mode: 'tiny' as const,
    run,
    results,
    stream: { write: (text: string) => (said += text) },
    patience: 1,
    graceSeconds: 0.2,
  })

  beforeEach(() => {
    const root = mkdtempSync(join(tmpdir(), 'bench-test-'))
    process.env.BENCH_DIR = root
    results = join(root, 'results')
    said = ''
  })
  afterEach(() => {
    if (BENCH_DIR === undefined) delete process.env.BENCH_DIR
    else process.env.BENCH_DIR = BENCH_DIR
  })

  it('goes on after one that failed, and counts it', async () => {
    const failing = of('failing', async () => {
      throw new Error('broken on purpose')
    })
    const failures = await runScenarios([failing, of('good', async () => 7)], options())
    expect(failures).toBe(1)
    const found = readResults(results)
    expect(found.get('failing')?.outcome).toMatchObject({
      kind: 'failed',
      reason: 'broken on purpose',
    })
    expect(found.get('good')).toMatchObject({ outcome: { kind: 'ok' }, measured: { result: 7 } })
    expect(said).toContain('failing: failed: broken on purpose')
  })

  it('does not count what cannot be measured here', async () => {
    const absent = of('absent', async () => {
      throw new NotRunError('not installed')
    })
    expect(await runScenarios([absent], options())).toBe(0)
    expect(readResults(results).get('absent')?.outcome).toMatchObject({ kind: 'not run' })
  })

  it('keeps earlier figures beside a failure', async () => {
    await runScenarios([of('one', async () => 1)], options())
    const failing = of('one', async () => {
      throw new Error('now it fails')
    })
    await runScenarios([failing], options())
    expect(readResults(results).get('one')).toMatchObject({
      outcome: { kind: 'failed' },
      measured: { result: 1 },
    })
  })

  it('ends the processes and removes the data of one that failed', async () => {
    let pid = 0
    let directory = ''
    const failing = of('failing', async context => {
      directory = context.directory('data')
      const child = startProgram('sleep', ['1000'])
      ;({ pid } = child)
      context.defer(() => child.stop())
      throw new Error('broken on purpose')
    })
    await runScenarios([failing], options())
    expect(pid).toBeGreaterThan(0)
    expect(isAlive(pid)).toBe(false)
    expect(existsSync(directory)).toBe(false)
    expect(readdirSync(process.env.BENCH_DIR ?? '')).toEqual(['results'])
  })

  it('gives up one that hangs, and kills what it started', async () => {
    let over: Promise<string> | undefined
    const hanging = of('hanging', async () => {
      const child = startProgram('sleep', ['1000'])
      over = child.line()
      await over
      return 0
    })
    const failures = await runScenarios([hanging, of('next', async () => 2)], options())
    expect(failures).toBe(1)
    expect(readResults(results).get('hanging')?.outcome).toMatchObject({
      reason: expect.stringContaining('given up'),
    })
    expect(readResults(results).get('next')?.outcome).toEqual({ kind: 'ok' })
    await expect(over).rejects.toThrow('ended')
  })
})

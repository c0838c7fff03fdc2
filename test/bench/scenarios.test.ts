// Every scenario runs, in the form that takes seconds, and its part of the report can be made.

import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { argumentsOf } from '../../bench/arguments.ts'
import { scenarios } from '../../bench/scenarios.ts'

const main = fileURLToPath(new URL('../../dist/bench/main.js', import.meta.url))
const timeoutMs = 120_000

async function bench(
  root: string,
  ...args: readonly string[]
): Promise<{ code: number; stderr: string }> {
  const where = ['--results', join(root, 'results'), '--docs', join(root, 'docs')]
  const child = spawn(process.execPath, [main, ...args, ...where], {
    env: { ...process.env, BENCH_DIR: root },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', text => {
    stderr += text
  })
  const code = await new Promise<number>(resolve => child.once('close', c => resolve(c ?? -1)))
  return { code, stderr }
}

describe('npm run bench', () => {
  let root = ''
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'bench-test-'))
  })
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  for (const { name, title } of scenarios)
    it(
      `measures ${name} and shows it`,
      async () => {
        const { code, stderr } = await bench(root, '--tiny', '--only', name)
        expect(stderr).toContain(`${name}: done`)
        expect(code).toBe(0)
        const page = readFileSync(join(root, 'docs/benchmarks.md'), 'utf8')
        // In CI the peers' servers are there; elsewhere the section says that they are not.
        if (name === 'peers' && process.env.CI === 'true')
          expect(page).not.toContain('-server is not installed')
        const section = page.split('\n### ').find(part => part.startsWith(title)) ?? ''
        expect(section).toContain('|')
        expect(section).not.toMatch(/NaN|undefined|\{plot:|\[object/)
        for (const [, file = ''] of section.matchAll(/\(benchmarks\/([^)]*)\)/g)) {
          const svg = readFileSync(join(root, 'docs/benchmarks', file), 'utf8')
          expect(svg).toMatch(/^<svg .*<\/svg>\n$/s)
          expect(svg).not.toMatch(/NaN|undefined|Infinity/)
        }
        // Only the report is left.
        expect(readdirSync(root).sort()).toEqual(['docs', 'results'])
      },
      timeoutMs,
    )

  it('makes the same page again of what was measured', async () => {
    const path = join(root, 'docs/benchmarks.md')
    const before = readFileSync(path, 'utf8')
    expect((await bench(root, '--page')).code).toBe(0)
    expect(readFileSync(path, 'utf8')).toBe(before)
  })

  it('resumes: leaves out what was measured already', async () => {
    const again = ['--tiny', '--resume', '--only', 'limits-hardware']
    const { code, stderr } = await bench(root, ...again)
    expect(code).toBe(0)
    expect(stderr).not.toContain('limits-hardware')
  })

  it('refuses what it does not know, with what there is', async () => {
    const { code, stderr } = await bench(root, '--only', 'nonsense')
    expect(code).toBe(2)
    expect(stderr).toContain('peers')
  })
})

describe('its arguments', () => {
  it('choose by name and by group', () => {
    const names = (text: string) => argumentsOf(['--only', text], scenarios).chosen.map(s => s.name)
    expect(names('peers')).toEqual(['peers'])
    expect(names('paper')).toHaveLength(5)
    expect(names('switch,scale-topics')).toEqual(['switch', 'scale-topics'])
    expect(argumentsOf([], scenarios).chosen).toHaveLength(scenarios.length)
  })

  it('say what is wrong with them', () => {
    expect(() => argumentsOf(['--full', '--tiny'], scenarios)).toThrow('not both')
    expect(() => argumentsOf(['--what'], scenarios)).toThrow('--what')
  })
})

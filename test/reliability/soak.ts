// `npm run test:soak`: runs the long forms of the suites one after the other and writes what they counted to test/reliability/results/ and
// docs/reliability.md. Usage: node dist/test/reliability/soak.js [NAME…] [--list] [--page]
//   NAME    only these programs, or `row:20` for those of a row      --list  names them and stops      --page  writes the page from stored results
// Ends with exit code 1 when one of them did not pass.

import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { commandOf, type Program, programs } from './programs.ts'
import { rows } from './rows.ts'
import { scoreboard, type StoredResult } from './scoreboard.ts'
import type { SuiteResult } from './suite.ts'

const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/dist\/$/, '/')
const resultsDirectory = join(root, 'test/reliability/results')

const names = process.argv.slice(2).filter(each => !each.startsWith('--'))
if (process.argv.includes('--list')) {
  for (const program of programs)
    console.log(`${program.name} (row ${program.rows.join(', ')}): ${commandOf(program)}`)
} else {
  const isFine = process.argv.includes('--page') || (await runAll(chosen()))
  writeFileSync(join(root, 'docs/reliability.md'), scoreboard(rows, programs, storedResults()))
  process.exitCode = isFine ? 0 : 1
}

function chosen(): readonly Program[] {
  if (names.length === 0) return programs
  return names.flatMap(name => {
    const found = programs.filter(
      each => each.name === name || each.rows.some(row => `row:${row}` === name),
    )
    if (found.length === 0) throw new Error(`no program ${name}: --list names them`)
    return found
  })
}

async function runAll(list: readonly Program[]): Promise<boolean> {
  let isFine = true
  for (const program of list) {
    if (!existsSync(join(root, 'dist/test', program.command[0]))) {
      console.log(`${program.name}: not run, dist/test/${program.command[0]} does not exist`)
      continue
    }
    const commit = commitNow()
    const result = await run(program)
    store(program, result, commit)
    isFine &&= result.passed
    console.log(JSON.stringify(result))
  }
  return isFine
}

async function run(program: Program): Promise<SuiteResult> {
  console.log(`${new Date().toISOString()} ${commandOf(program)}`)
  const started = performance.now()
  const [module, ...args] = program.command
  const child = spawn(process.execPath, [join(root, 'dist/test', module), ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  const code = await new Promise<number | string>(resolve => {
    child.once('close', (exit, signal) => resolve(exit ?? signal ?? 'unknown'))
  })
  const seconds = Math.round((performance.now() - started) / 1000)
  try {
    if (program.read === undefined)
      return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '') as SuiteResult
    const passed = code === 0
    if (!passed) console.log(stdout)
    return { ...base(program, seconds), ...program.read(stdout), passed }
  } catch (error) {
    const notes = `exit ${code}, no counts: ${(error as Error).message}; ${stdout.slice(-300)}`
    return { ...base(program, seconds), passed: false, notes: notes.replaceAll('\n', ' ') }
  }
}

function base(program: Program, seconds: number): Omit<SuiteResult, 'passed'> {
  const command = commandOf(program)
  return { row: program.rows[0], name: program.name, command, seconds, counts: {}, figures: {} }
}

/** With `+` when tracked files differ from it. */
function commitNow(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
  const own = [':!test/reliability/results', ':!docs/reliability.md']
  const changed = git('status', '--porcelain', '--untracked-files=no', ...own)
  return `${git('rev-parse', '--short', 'HEAD')}${changed === '' ? '' : '+'}`
}

function store(program: Program, result: SuiteResult, commit: string): void {
  const stored: StoredResult = {
    ...result,
    name: program.name,
    date: new Date().toISOString().slice(0, 10),
    commit,
    node: `Node ${process.version.slice(1)}`,
    machine: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'CPU'}`,
  }
  mkdirSync(resultsDirectory, { recursive: true })
  const path = join(resultsDirectory, `${program.name}.json`)
  writeFileSync(path, `${JSON.stringify(stored, undefined, 2)}\n`)
}

function storedResults(): ReadonlyMap<string, StoredResult> {
  const files = existsSync(resultsDirectory) ? readdirSync(resultsDirectory) : []
  return new Map(
    files
      .filter(file => file.endsWith('.json'))
      .map(file => {
        const text = readFileSync(join(resultsDirectory, file), 'utf8')
        return [file.slice(0, -'.json'.length), JSON.parse(text) as StoredResult]
      }),
  )
}

// Plants a bug: bundles the simulation with one text of one source file replaced, and runs seeds of it in a process of its own.

import { spawn } from 'node:child_process'
import { mkdir, readFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import type { PlantedBug } from './bugs.ts'

export type Verdict =
  | { readonly outcome: 'found'; readonly seeds: number; readonly message: string }
  | { readonly outcome: 'survived'; readonly seeds: number; readonly message: string }
  /** Ended without naming a seed: a defect of the bug or of the simulation. */
  | { readonly outcome: 'broken'; readonly seeds: number; readonly message: string }

/** Root of the repository, from the sources and from `dist` alike. */
export const root = ((): string => {
  let at = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(at, 'package.json'))) at = resolve(at, '..')
  return at
})()

/** The text of the file with the bug in it. @throws when the list is stale */
export async function mutate(bug: PlantedBug): Promise<string> {
  const text = await readFile(join(root, bug.file), 'utf8')
  const parts = text.split(bug.find)
  if (parts.length !== 2)
    throw new Error(
      `${bug.name}: its text occurs ${parts.length - 1} times in ${bug.file}; bring the list up to date`,
    )
  return parts.join(bug.replace)
}

/** Bundles the simulation, with the bug if there is one; returns the file to run. */
export async function bundle(name: string, bug?: PlantedBug): Promise<string> {
  const directory = join(root, 'dist/test/mutations/bundles')
  await mkdir(directory, { recursive: true })
  const outfile = join(directory, `${name.replace(/[^a-z0-9]+/gi, '-')}.mjs`)
  const changed = bug === undefined ? undefined : await mutate(bug)
  let planted = 0
  await build({
    entryPoints: [join(root, 'test/simulation/run.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    alias: { '#platform': join(root, 'wire/platform.node.ts') },
    logLevel: 'error',
    plugins: [
      {
        name: 'plant',
        setup(plugin) {
          plugin.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
            if (bug === undefined || path !== join(root, bug.file)) return undefined
            planted++
            return { contents: changed as string, loader: 'ts' as const }
          })
        },
      },
    ],
  })
  if (bug !== undefined && planted === 0)
    throw new Error(`${bug.name}: the simulation does not load ${bug.file}`)
  return outfile
}

/** Runs seeds until the bug is found or the budget is used up. */
export async function hunt(bug: PlantedBug, seeds: number, seconds: number): Promise<Verdict> {
  const file = await bundle(bug.name, bug)
  const child = spawn(
    process.execPath,
    [file, '--scenario', bug.scenario, '--from', '1', '--seeds', String(seeds)],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  )
  let output = ''
  child.stdout.on('data', (data: Buffer) => (output += data.toString()))
  child.stderr.on('data', (data: Buffer) => (output += data.toString()))
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000)
  const code = await new Promise<number | null>(done => child.on('close', done))
  clearTimeout(timer)
  const failed = /^FAILED seed (\d+): (.*)$/m.exec(output)
  if (failed !== null)
    return { outcome: 'found', seeds: Number(failed[1]), message: failed[2] as string }
  if (code === 0) return { outcome: 'survived', seeds, message: '' }
  return { outcome: 'broken', seeds: 0, message: `exit ${code}: ${output.slice(-300)}` }
}

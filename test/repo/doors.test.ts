// Third-party packages have one door each, folders import only downwards, and ports are the only way to time, chance and files
// (docs/architecture.md section 2 and the end of section 9).

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { codeOf, type Import, importsOf, packageOf, rootDirectory, sourceFiles } from './sources.ts'

const doors: Readonly<Record<string, RegExp>> = {
  ws: /^wire\/(platform\.node|server|peer-socket)\.ts$/,
  msgpackr: /^wire\//,
  lmdb: /^broker\/state\/lmdb-store\.ts$/,
  'prom-client': /^broker\/metrics\//,
  pino: /^broker\/logger\.ts$/,
  jose: /^broker\/security\/(jwt|jwks)\.ts$/,
  re2js: /^broker\/state\/groups\/pattern\.ts$/,
  commander: /^broker\/cli\//,
}

/** Goes into the files of the console: nobody installs it. */
const bundled: Readonly<Record<string, RegExp>> = { uplot: /^broker\/console\/plot\.ts$/ }

const projects = ['wire', 'loglets', 'client', 'broker'] as const
const imports = projects.flatMap(importsOf)

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

const manifest = JSON.parse(readFileSync(join(rootDirectory, 'package.json'), 'utf8')) as Manifest

describe('third-party packages', () => {
  const isBundled = ({ file, target }: Import): boolean => bundled[target]?.test(file) === true
  const foreign = imports.filter(
    each => !each.isOurs && !/^(node:|#)/.test(each.target) && !isBundled(each),
  )

  it('are imported only through their door', () => {
    const wrong = foreign.filter(({ file, target }) => !doors[packageOf(target)]?.test(file))
    expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([])
  })

  it('are all used, and all of them have a door', () => {
    const used = new Set(foreign.map(({ target }) => packageOf(target)))
    expect([...used].sort()).toEqual(Object.keys(manifest.dependencies).sort())
    expect(Object.keys(doors).sort()).toEqual(Object.keys(manifest.dependencies).sort())
  })

  it('are each explained in docs/dependencies.md, which names no others', () => {
    const text = readFileSync(join(rootDirectory, 'docs/dependencies.md'), 'utf8')
    const rows = [...text.matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, cell = '']) => {
      return [...cell.matchAll(/`([^`]+)`/g)].map(match => match[1] ?? '')
    })
    const { dependencies, devDependencies } = manifest
    expect(rows.sort()).toEqual(
      [...Object.keys(dependencies), ...Object.keys(devDependencies)].sort(),
    )
  })
})

describe('folders', () => {
  const allowed: Readonly<Record<string, readonly string[]>> = {
    wire: [],
    loglets: ['wire'],
    client: ['wire'],
    broker: ['wire', 'loglets'],
    'broker/cli': ['wire', 'client', 'loglets', 'broker'],
    'broker/console': ['wire', 'client'],
  }

  function projectOf(file: string): string {
    const own = ['broker/cli', 'broker/console'].find(folder => file.startsWith(`${folder}/`))
    return own ?? file.split('/')[0] ?? ''
  }

  it('import only the ones below them', () => {
    const wrong = imports.filter(({ file, target, isOurs }) => {
      const from = projectOf(file)
      const to = projectOf(target)
      return isOurs && from !== to && !allowed[from]?.includes(to)
    })
    expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([])
  })

  it('keep the log free of topics, partitions and groups', () => {
    const words = /\b(topic|partition|consumerGroup)s?\b/i
    const guilty = sourceFiles('loglets').filter(file => words.test(codeOf(file)))
    expect(guilty).toEqual([])
  })

  it('keep the engine and the state free of the gateway', () => {
    const inner = imports.filter(({ file }) => /^broker\/(engine|state)\//.test(file))
    const wrong = inner.filter(({ target }) => /^broker\/(gateway|metrics|cli)\//.test(target))
    expect(wrong).toEqual([])
  })

  it('keep the SDK and what it shares with browsers free of Node', () => {
    const wire = /^wire\/(?!platform\.node\.ts|server\.ts|frame-gate\.ts|peer-socket\.ts)/
    const shared = imports.filter(({ file }) => file.startsWith('client/') || wire.test(file))
    expect(shared.filter(({ target }) => target.startsWith('node:'))).toEqual([])
    const guilty = [
      ...sourceFiles('client'),
      ...sourceFiles('wire').filter(file => wire.test(file)),
      // The name of a metric is not Node's object.
    ].filter(file => /(?<!'messaging\.)\b(Buffer|process)\b\./.test(codeOf(file)))
    expect(guilty).toEqual([])
  })
})

describe('time, chance and files', () => {
  const simulated = [
    ...sourceFiles('loglets'),
    ...sourceFiles('broker/engine'),
    ...sourceFiles('broker/state'),
  ]
  const doorsToTheWorld = new Set([
    'loglets/node-disk.ts',
    'loglets/node-clock.ts',
    'broker/state/lmdb-store.ts',
    'broker/state/room-ahead.ts',
  ])
  const inside = simulated.filter(file => !doorsToTheWorld.has(file))

  it('come into the simulated part only through its ports', () => {
    const world =
      /\bnew Date\b|\bDate\.|\bMath\.random\b|\bset(Timeout|Interval|Immediate)\(|\bperformance\.|\bprocess\./
    expect(inside.filter(file => world.test(codeOf(file)))).toEqual([])
    const modules = /^node:(fs|timers|crypto|net|http|os|child_process|worker_threads)/
    const wrong = imports.filter(
      ({ file, target }) => inside.includes(file) && modules.test(target),
    )
    expect(wrong).toEqual([])
  })

  it('have doors that exist', () => {
    expect([...doorsToTheWorld].filter(file => !simulated.includes(file))).toEqual([])
  })
})

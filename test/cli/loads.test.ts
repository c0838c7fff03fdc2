// Start-up is fast because a command loads only what it needs. Follows the built modules' static imports, as Node would.

import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { packageOf, rootDirectory } from '../repo/sources.ts'

const builtCli = join(rootDirectory, 'dist/broker/cli')
const staticImport = /^\s*(?:import|export)\s+(?:[\w*$\s{},]+\sfrom\s+)?'([^']+)'/gm
const platform = './dist/wire/platform.node.js'

/** Files and packages reached from a built module without running anything. */
function loadedBy(entry: string, seen = new Set<string>()): ReadonlySet<string> {
  if (seen.has(entry)) return seen
  seen.add(entry)
  for (const [, target = ''] of readFileSync(entry, 'utf8').matchAll(staticImport)) {
    if (target === '#platform') loadedBy(resolve(rootDirectory, platform), seen)
    else if (target.startsWith('.')) loadedBy(resolve(dirname(entry), target), seen)
    else seen.add(target)
  }
  return seen
}

function packagesOf(loaded: ReadonlySet<string>): readonly string[] {
  const names = [...loaded].filter(name => !/^(\/|node:)/.test(name))
  return [...new Set(names.map(packageOf))].sort()
}

describe('loading', () => {
  it('the command line itself needs commander and nothing else', () => {
    const loaded = loadedBy(join(builtCli, 'main.js'))
    expect(packagesOf(loaded)).toEqual(['commander'])
  })

  it.each(['produce', 'consume', 'health', 'broker-client'])(
    '%s needs no broker and no storage',
    name => {
      const loaded = loadedBy(join(builtCli, `${name}.js`))
      const allowed = ['commander', 'msgpackr', 'ws']
      expect(packagesOf(loaded).filter(each => !allowed.includes(each))).toEqual([])
      const files = [...loaded].filter(each => each.startsWith('/'))
      const foreign = files.filter(file => !/\/dist\/(wire|client|broker\/cli)\//.test(file))
      expect(foreign).toEqual([])
    },
  )

  it('finds the packages of the broker where they are loaded', () => {
    const loaded = loadedBy(join(builtCli, 'start.js'))
    expect(packagesOf(loaded)).toContain('pino')
  })
})

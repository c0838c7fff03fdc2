// docs/cli.md shows the help of every command; both are held together here. UPDATE_DOCS=1 rewrites the page's blocks.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { rootDirectory, run } from './cli-process.ts'

const page = join(rootDirectory, 'docs/cli.md')
const block = /^```text\n\$ logloom(.*) --help\n([\s\S]*?)^```$/gm

/** The names of the commands that a help text lists. */
function commandsIn(help: string): readonly string[] {
  const section = /^Commands:\n((?: .*\n)+)/m.exec(help)?.[1] ?? ''
  return [...section.matchAll(/^ {2}(\S+)/gm)].map(match => match[1] ?? '')
}

async function helpOf(words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run([...words, '--help'])
  expect([code, stderr]).toEqual([0, ''])
  return stdout
}

/** Every command with its help text, found by walking the help texts. */
async function allHelp(words: readonly string[] = []): Promise<ReadonlyMap<string, string>> {
  const help = await helpOf(words)
  const all = new Map([[words.join(' '), help]])
  for (const name of commandsIn(help)) {
    if (name === 'help') continue
    for (const entry of await allHelp([...words, name])) all.set(...entry)
  }
  return all
}

describe('the help of every command', () => {
  it('is what docs/cli.md shows, for all commands and no others', async () => {
    const all = await allHelp()
    if (process.env['UPDATE_DOCS']) {
      const intro = readFileSync(page, 'utf8').split('\n## `logloom`')[0] ?? ''
      const blocks = [...all].map(([name, help]) => {
        const command = name === '' ? 'logloom' : `logloom ${name}`
        return `## \`${command}\`\n\n\`\`\`text\n$ ${command} --help\n${help}\`\`\`\n`
      })
      writeFileSync(page, `${intro}\n${blocks.join('\n')}`)
    }
    const shown = new Map<string, string>()
    for (const [, name = '', help = ''] of readFileSync(page, 'utf8').matchAll(block)) {
      shown.set(name.trim(), help)
    }
    expect(Object.fromEntries(shown)).toEqual(Object.fromEntries(all))
  })

  it('has examples wherever there is something to do', async () => {
    for (const [name, help] of await allHelp()) {
      const isGroup = commandsIn(help).length > 0 && name !== ''
      if (!isGroup) expect(help, name).toContain('\nExamples:\n  $ ')
    }
  })

  it('has no colours', async () => {
    const { stdout } = await run(['--help'], { env: { FORCE_COLOR: '1' } })
    expect(stdout).not.toContain('\u001b')
  })
})

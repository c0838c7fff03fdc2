// The pages refer to each other by relative links; all of them lead somewhere, and the index of docs/ is complete.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { errorTable } from '../../wire/errors.ts'
import { rootDirectory } from './sources.ts'

const docs = readdirSync(join(rootDirectory, 'docs'), { recursive: true, encoding: 'utf8' })
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...docs.filter(name => name.endsWith('.md')).map(name => `docs/${name}`),
]

/** Relative links of a page, without their fragments. */
function linksOf(page: string): readonly string[] {
  const text = readFileSync(join(rootDirectory, page), 'utf8')
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(match => match[1] ?? '')
  return targets
    .filter(target => !/^(https?:|#)/.test(target))
    .map(target => target.split('#')[0] ?? '')
}

describe('pages', () => {
  it('link only to what exists', () => {
    const dead = pages.flatMap(page => {
      const targets = linksOf(page).map(target => resolve(rootDirectory, dirname(page), target))
      return targets.filter(target => !existsSync(target)).map(target => `${page}: ${target}`)
    })
    expect(dead).toEqual([])
  })

  it('of docs/ are all in its index', () => {
    const indexed = linksOf('docs/README.md')
    const own = docs.filter(name => /^[^/]+\.md$/.test(name) && name !== 'README.md')
    expect(own.filter(name => !indexed.includes(name))).toEqual([])
  })
})

describe('error codes', () => {
  it('in the pages exist', () => {
    const known = new Set([
      ...Object.keys(errorTable),
      'LOGLOOM_URL',
      'LOGLOOM_PORT',
      'LOGLOOM_NUM_PARTITIONS',
      'LOGLOOM_TOKEN',
      'LOGLOOM_TOKEN_FILE',
      'LOGLOOM_CA_FILE',
      'NODE_EXTRA_CA_CERTS',
    ])
    const unknown = ['docs/operations.md', 'docs/cli.md', 'docs/protocol.md'].flatMap(page => {
      const text = readFileSync(join(rootDirectory, page), 'utf8')
      const words = [...text.matchAll(/\b[A-Z]{3,}(?:_[A-Z]+)+\b/g)].map(match => match[0])
      return words.filter(word => !known.has(word)).map(word => `${page}: ${word}`)
    })
    expect(unknown).toEqual([])
  })
})

describe('README.md', () => {
  const text = readFileSync(join(rootDirectory, 'README.md'), 'utf8')

  it('names scripts that package.json has', () => {
    const { scripts } = JSON.parse(readFileSync(join(rootDirectory, 'package.json'), 'utf8')) as {
      scripts: Readonly<Record<string, string>>
    }
    const named = [...text.matchAll(/npm (?:run )?(start|test|[a-z]+(?::[a-z]+)+)\b/g)]
    expect(named.length).toBeGreaterThan(0)
    expect(named.map(match => match[1] ?? '').filter(name => !(name in scripts))).toEqual([])
  })
})

// Row 24 in its short form: the lockfile, the list of packages in the documentation, and the package in an empty folder.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { rootDirectory } from '../repo/sources.ts'
import {
  lockfileFaults,
  nameOf,
  ownOfUnknownAge,
  run,
  scriptsNotNeeded,
  shippedPackages,
  shippedVersions,
} from './supply-chain.ts'
import { ageDaysMin, agesOf, storedDates } from './version-ages.ts'

describe('the lockfile', () => {
  it('pins every package by its hash, names no host, and needs no install script', () => {
    expect(lockfileFaults()).toEqual([])
  })

  it('brings along what docs/dependencies.md lists, and nothing else', () => {
    const text = readFileSync(join(rootDirectory, 'docs/dependencies.md'), 'utf8')
    const section = /## What they bring along\n.*?\n(- .*?)\n## /s.exec(text)?.[1] ?? ''
    const listed = [...section.matchAll(/`([^`]+)`/g)].map(([, name]) => name ?? '')
    const shipped = shippedPackages().map(([path]) => nameOf(path))
    // Packages for one platform each go by the name in front of it.
    const families = shipped.map(name =>
      name.replace(/^(@lmdb\/lmdb|@msgpackr-extract\/msgpackr-extract)-.*/, '$1-*'),
    )
    expect([...new Set(listed)].sort()).toEqual([...new Set(families)].sort())
  })

  it('has the install scripts that are known not to be needed', () => {
    const scripts = shippedPackages().filter(([, { hasInstallScript }]) => hasInstallScript)
    expect(scripts.map(([path]) => nameOf(path)).sort()).toEqual([...scriptsNotNeeded].sort())
  })
})

describe('the ages of versions', () => {
  const now = Date.parse('2026-11-30T00:00:00Z')
  const one = [{ name: '@scope/a', version: '1.2.3' }]

  it.each([
    [{ '@scope/a@1.2.3': '2026-11-23T00:00:00.000Z' }, [], []],
    [{ '@scope/a@1.2.3': '2026-11-23T00:00:00.001Z' }, ['@scope/a@1.2.3'], []],
    [{ '@scope/a@1.2.3': '2027-01-01' }, ['@scope/a@1.2.3'], []],
    [{ '@scope/a@1.2.3': 'long ago' }, ['@scope/a@1.2.3'], []],
    [{ '@scope/a@1.2.4': '2020-01-01' }, [], ['@scope/a@1.2.3']],
  ])('%j', (dates, young, unknown) => {
    expect(agesOf(one, dates, now)).toEqual({ young, unknown })
  })

  const { young, unknown } = agesOf(shippedVersions(), storedDates(), Date.now())

  it(`are at least ${ageDaysMin} days, as far as they are known`, () => {
    expect(young).toEqual([])
  })

  it('of what we name ourselves are known: `npm run test:soak -- supply-chain` asks for them', () => {
    expect(ownOfUnknownAge(unknown)).toEqual([])
  })

  // CI asks no registry.
  it.skipIf(unknown.length > 0)(
    `of all versions are known; skipped: ${unknown.length} that are brought along have not been asked for`,
    () => {
      expect(unknown).toEqual([])
    },
  )
})

describe('the package', () => {
  it('runs from an empty folder, with what it brings and nothing that it does not need', async () => {
    const { passed, notes, counts } = await run({ form: 'short', seed: 1 })
    expect({ passed, notes }).toMatchObject({ passed: true })
    expect(counts['recordsRead']).toBe(2)
  }, 180_000)
})

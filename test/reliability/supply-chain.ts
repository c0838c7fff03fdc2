// Row 24: what an installation brings along. The lockfile is read; the package is packed, installed in an empty folder without install scripts, and its
// broker is started, used through the command line and stopped. Usage: node dist/test/reliability/supply-chain.js [--short] [--json]

import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { withDirectory } from '../acceptance/broker-process.ts'
import { packageRun } from './package-run.ts'
import { type Suite, suiteMain } from './suite.ts'
import {
  ageDaysMin,
  agesOf,
  learnDates,
  lookupsMax,
  storedDates,
  type Version,
} from './version-ages.ts'

const run_ = promisify(execFile)
const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/dist\/$/, '/')
const name = 'supply-chain'
/** Of what users install directly; each is explained in docs/dependencies.md, which also says why they are not six. */
export const runtimeDependenciesMax = 8
const runtimeDependenciesAim = 6
/** Install scripts that nobody has to run: both bring prebuilt parts, or do without. */
export const scriptsNotNeeded: readonly string[] = ['lmdb', 'msgpackr-extract']

export interface LockedPackage {
  readonly version: string
  readonly resolved?: string
  readonly integrity?: string
  readonly hasInstallScript?: boolean
  readonly dev?: boolean
  readonly devOptional?: boolean
  readonly peer?: boolean
  readonly link?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
}

/** Every package of the lockfile by its path, without our own. */
export function lockedPackages(): readonly (readonly [string, LockedPackage])[] {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, LockedPackage>>
  }
  return Object.entries(packages).filter(([path]) => path !== '')
}

/** What an installation gets. */
export function shippedPackages(): readonly (readonly [string, LockedPackage])[] {
  return lockedPackages().filter(([, { dev, devOptional, peer }]) => !dev && !devOptional && !peer)
}

/** Versions that an installation gets, those that we name ourselves first. */
export function shippedVersions(): readonly Version[] {
  const own = Object.keys(manifestOf().dependencies)
  const all = shippedPackages().map(([path, { version }]) => ({
    name: nameOf(path),
    version,
    path,
  }))
  const isOwn = ({ name, path }: { name: string; path: string }): boolean =>
    own.includes(name) && path === `node_modules/${name}`
  return [...all.filter(isOwn), ...all.filter(each => !isOwn(each))]
}

/** Of the versions without a date those that we name ourselves, as `name@version`. */
export function ownOfUnknownAge(unknown: readonly string[]): readonly string[] {
  const count = Object.keys(manifestOf().dependencies).length
  const own = shippedVersions().slice(0, count)
  return own
    .map(({ name: of, version }) => `${of}@${version}`)
    .filter(each => unknown.includes(each))
}

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
}

function manifestOf(): Manifest {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
}

export const nameOf = (path: string): string => path.slice(path.lastIndexOf('node_modules/') + 13)

/** What is wrong with the lockfile, in words. */
export function lockfileFaults(): readonly string[] {
  const faults = lockedPackages().flatMap(([path, entry]) => {
    const { integrity, resolved, link } = entry
    return [
      ...(integrity === undefined ? [`${path} has no integrity`] : []),
      ...(integrity?.startsWith('sha512-') === false
        ? [`${path}: ${integrity} is no SHA-512`]
        : []),
      ...(resolved === undefined ? [] : [`${path} comes from ${resolved}`]),
      ...(link === true ? [`${path} is a link`] : []),
    ]
  })
  const manifest = manifestOf()
  const ranges = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
  const foreign = ranges.filter(([, range]) => !/^[\^~]?\d+\.\d+\.\d+/.test(range))
  const direct = Object.keys(manifest.dependencies).length
  const scripts = shippedPackages()
    .filter(([, { hasInstallScript }]) => hasInstallScript === true)
    .map(([path]) => nameOf(path))
    .filter(each => !scriptsNotNeeded.includes(each))
  return [
    ...faults,
    ...foreign.map(([each, range]) => `${each}: ${range} is no version of the registry`),
    ...scripts.map(each => `${each} has an install script`),
    ...(direct > runtimeDependenciesMax
      ? [`${direct} runtime dependencies, at most ${runtimeDependenciesMax}`]
      : []),
  ]
}

export const run: Suite = ({ form }) =>
  withDirectory(async directory => {
    const started = performance.now()
    const faults = [...lockfileFaults()]
    const shipped = shippedPackages()
    const report = await packageRun(directory)
    faults.push(...report.faults)
    if (form === 'long') faults.push(...(await cleanInstall(directory)))
    const versions = shippedVersions()
    const dates = form === 'long' ? await learnDates(versions) : storedDates()
    const { young, unknown } = agesOf(versions, dates, Date.now())
    faults.push(...ownOfUnknownAge(unknown).map(each => `the age of ${each} is not known`))
    faults.push(...young.map(each => `${each} is younger than ${ageDaysMin} days`))
    const direct = Object.keys(manifestOf().dependencies).length
    const scripts = shipped.filter(([, entry]) => entry.hasInstallScript === true).length
    return {
      row: 24,
      name,
      command: `node dist/test/reliability/${name}.js`,
      seconds: Math.round((performance.now() - started) / 1000),
      counts: {
        locked: lockedPackages().length,
        shipped: shipped.length,
        direct,
        scriptsNotRun: scripts,
        agesKnown:
          new Set(versions.map(({ name: of, version }) => `${of}@${version}`)).size -
          unknown.length,
        agesUnknown: unknown.length,
        young: young.length,
        filesInPackage: report.files,
        recordsRead: report.recordsRead,
        faults: faults.length,
      },
      figures: { packedKiB: report.packedKiB, unpackedKiB: report.unpackedKiB },
      passed: faults.length === 0,
      notes: [
        ...faults,
        ...(direct > runtimeDependenciesAim
          ? [`${direct} runtime dependencies, the aim is ${runtimeDependenciesAim}`]
          : []),
        ...(unknown.length > 0
          ? [
              `the ages of ${unknown.length} versions that these bring along are not known: the next long forms ask for ${lookupsMax} each`,
            ]
          : []),
      ].join('; '),
    }
  })

/** A clone, installed without any script but our own build. */
async function cleanInstall(directory: string): Promise<readonly string[]> {
  const clone = join(directory, 'clone')
  mkdirSync(clone)
  try {
    await run_('git', ['clone', '--quiet', '--depth', '1', `file://${root}`, clone])
    await run_('npm', ['ci', '--ignore-scripts', '--prefer-offline', '--no-audit'], { cwd: clone })
    await run_('npm', ['run', 'build'], { cwd: clone })
    const { stdout } = await run_(process.execPath, ['broker/cli/logloom.cjs', '--version'], {
      cwd: clone,
    })
    return stdout.trim() === '' ? ['npm ci --ignore-scripts and a build give no command'] : []
  } catch (error) {
    return [`npm ci --ignore-scripts in a clone: ${(error as Error).message.slice(0, 500)}`]
  }
}

await suiteMain(import.meta.url, run)

// How old the versions are that an installation gets: nothing that the lockfile names was published less than a week ago, since malicious versions are
// found within days. The lockfile has no dates, so they are kept in version-dates.json, and the registry is asked, by npm, only about what is not there.

import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/dist\/$/, '/')
const path = join(root, 'test/reliability/version-dates.json')
const dayMs = 86_400_000
export const ageDaysMin = 7
/** Of one run: the others are asked about by the next ones. */
export const lookupsMax = 8

/** When a version was published, ISO 8601, by `name@version`. */
export type VersionDates = Readonly<Record<string, string>>

export interface Version {
  readonly name: string
  readonly version: string
}

export interface Ages {
  /** `name@version` of those that are too young. */
  readonly young: readonly string[]
  /** Of those whose date is not known. */
  readonly unknown: readonly string[]
}

export function storedDates(): VersionDates {
  return JSON.parse(readFileSync(path, 'utf8')) as VersionDates
}

export function agesOf(versions: readonly Version[], dates: VersionDates, now: number): Ages {
  const keys = [...new Set(versions.map(keyOf))].sort()
  const young = keys.filter(key => {
    const date = dates[key]
    // What is no date is no age.
    return date !== undefined && !(now - Date.parse(date) >= ageDaysMin * dayMs)
  })
  return { young, unknown: keys.filter(key => dates[key] === undefined) }
}

/**
 * The dates with those of up to {@link lookupsMax} versions that were not known, in the order given, written to the file; what the lockfile does not
 * name any more is left out. @throws what npm says
 */
export async function learnDates(versions: readonly Version[]): Promise<VersionDates> {
  const known = storedDates()
  const dates: Record<string, string> = {}
  let lookups = 0
  for (const version of versions) {
    const key = keyOf(version)
    const date = known[key] ?? dates[key]
    if (date !== undefined) dates[key] = date
    else if (lookups++ < lookupsMax) dates[key] = await publishedAt(version)
  }
  const sorted = Object.fromEntries(Object.entries(dates).sort(([a], [b]) => (a < b ? -1 : 1)))
  writeFileSync(path, `${JSON.stringify(sorted, undefined, 2)}\n`)
  return sorted
}

async function publishedAt({ name, version }: Version): Promise<string> {
  const { stdout } = await promisify(execFile)('npm', ['view', name, 'time', '--json'], {
    cwd: root,
  })
  const date = (JSON.parse(stdout) as VersionDates)[version]
  if (date === undefined || Number.isNaN(Date.parse(date)))
    throw new Error(`the registry has no date of ${name}@${version}`)
  return date
}

function keyOf({ name, version }: Version): string {
  return `${name}@${version}`
}

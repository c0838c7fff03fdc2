// Writes what is made of the sources: `npm run grafana`.

import { writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { dashboards } from './dashboards.ts'
import { modelOf } from './panels.ts'
import { rulesYaml } from './rules.ts'

/** Content of the files that are made, by their path below `grafana/`. */
export function files(): ReadonlyMap<string, string> {
  const made = new Map<string, string>()
  for (const [name, dashboard] of Object.entries(dashboards))
    made.set(`dashboards/${name}.json`, `${JSON.stringify(modelOf(dashboard), null, 2)}\n`)
  made.set('prometheus/rules.yml', rulesYaml())
  return made
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  for (const [path, content] of files()) writeFileSync(`grafana/${path}`, content)

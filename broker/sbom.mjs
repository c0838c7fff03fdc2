// Writes dist/sbom.cdx.json: the packages that an installation brings along, as CycloneDX 1.5, from the lockfile alone. Run by `prepack`.
//
// The same lockfile gives the same bytes: no time, no serial number, no paths, nothing that depends on the platform or on npm's version.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'

const root = new URL('../', import.meta.url)
const { name, version, packages } = JSON.parse(
  readFileSync(new URL('package-lock.json', root), 'utf8'),
)
const own = packages['']
const shipped = Object.entries(packages)
  .filter(([path, { dev, devOptional, peer }]) => path !== '' && !dev && !devOptional && !peer)
  .map(([path, entry]) => ({ path, name: nameOf(path), ...entry }))
  .sort((a, b) => (a.path < b.path ? -1 : 1))

const bom = {
  $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
  bomFormat: 'CycloneDX',
  specVersion: '1.5',
  version: 1,
  metadata: {
    lifecycles: [{ phase: 'pre-build' }],
    component: {
      'bom-ref': refOf(name, version),
      type: 'application',
      name,
      version,
      purl: purlOf(name, version),
      licenses: licensesOf(own.license),
    },
  },
  components: shipped.map(each => ({
    'bom-ref': refOf(each.name, each.version),
    type: 'library',
    name: each.name,
    version: each.version,
    scope: each.optional ? 'optional' : 'required',
    purl: purlOf(each.name, each.version),
    licenses: licensesOf(each.license),
    hashes: hashesOf(each.integrity),
  })),
  dependencies: [
    { ref: refOf(name, version), dependsOn: needsOf('', own) },
    ...shipped.map(each => ({
      ref: refOf(each.name, each.version),
      dependsOn: needsOf(each.path, each),
    })),
  ],
}

mkdirSync(new URL('dist/', root), { recursive: true })
writeFileSync(new URL('dist/sbom.cdx.json', root), `${JSON.stringify(bom, undefined, 1)}\n`)

/** `node_modules/a/node_modules/@b/c` → `@b/c` */
function nameOf(path) {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
}

function refOf(of, at) {
  return `${of}@${at}`
}

function purlOf(of, at) {
  return `pkg:npm/${of.replace('@', '%40')}@${at}`
}

function licensesOf(license) {
  if (license === undefined) return []
  return /[ ()]/.test(license) ? [{ expression: license }] : [{ license: { id: license } }]
}

function hashesOf(integrity) {
  return integrity.split(' ').map(text => {
    const [algorithm, base64] = text.split(/-(.*)/s)
    return {
      alg: algorithm.replace('sha', 'SHA-'),
      content: Buffer.from(base64, 'base64').toString('hex'),
    }
  })
}

/** What a package needs, found as Node finds it: from its own folder upwards. */
function needsOf(path, { dependencies = {}, optionalDependencies = {} }) {
  const found = Object.keys({ ...dependencies, ...optionalDependencies }).flatMap(needed => {
    for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
      const entry = packages[`${at === '' ? '' : `${at}/`}node_modules/${needed}`]
      if (entry !== undefined) return [refOf(needed, entry.version)]
      if (at === '') return []
    }
  })
  return [...new Set(found)].sort()
}

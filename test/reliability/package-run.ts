// The package as a user gets it: packed, installed in an empty folder without install scripts, imported, its broker started by its bin and used by its
// command line.

import { execFile, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/dist\/$/, '/')
/** What nobody needs who installs it. */
const unwanted =
  /(^|\/)(test|bench|fixtures|corpus)(\/|$)|\.tsbuildinfo$|(^|\/)\.(npmrc|ci|git)|\.mjs$/

export interface PackageReport {
  readonly files: number
  readonly packedKiB: number
  readonly unpackedKiB: number
  readonly recordsRead: number
  readonly faults: readonly string[]
}

interface Packed {
  readonly filename: string
  readonly size: number
  readonly unpackedSize: number
  readonly files: readonly { readonly path: string }[]
}

/** Everything happens below `directory`. The build must be there. */
export async function packageRun(directory: string): Promise<PackageReport> {
  // What `prepack` runs; npm's own scripts are left out, since they build again under the feet of whoever runs beside.
  await execute(process.execPath, [join(root, 'broker/sbom.mjs')])
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', directory]
  const { stdout } = await execute('npm', pack, { cwd: root, maxBuffer: 64 << 20 })
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('['))) as [Packed]
  const paths = packed.files.map(({ path }) => path)
  const faults = [
    ...paths.filter(path => unwanted.test(path)).map(path => `${path} is in the package`),
    ...['dist/sbom.cdx.json', 'LICENSE', 'README.md', 'dist/broker/cli/main.js']
      .filter(path => !paths.includes(path))
      .map(path => `${path} is not in the package`),
  ]
  const home = join(directory, 'installed')
  mkdirSync(home)
  writeFileSync(
    join(home, 'package.json'),
    '{"name":"empty","version":"1.0.0","private":true,"type":"module"}',
  )
  const tarball = join(directory, packed.filename.replaceAll('/', '-').replace('@', ''))
  await execute(
    'npm',
    ['install', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', tarball],
    { cwd: home },
  )
  faults.push(...sbomFaults(home), ...(await importFaults(home)))
  const used = await useBroker(home)
  return {
    files: paths.length,
    packedKiB: Math.round(packed.size / 1024),
    unpackedKiB: Math.round(packed.unpackedSize / 1024),
    recordsRead: used.records,
    faults: [...faults, ...used.faults],
  }
}

/** The bill of materials names what was installed beside the package. */
function sbomFaults(home: string): readonly string[] {
  const bom = JSON.parse(
    readFileSync(join(home, 'node_modules/logloom/dist/sbom.cdx.json'), 'utf8'),
  ) as { components: readonly { name: string }[] }
  const lock = JSON.parse(readFileSync(join(home, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, { readonly peer?: boolean }>>
  }
  const listed = new Set(bom.components.map(({ name }) => name))
  return Object.entries(lock.packages)
    .filter(([path, { peer }]) => path !== '' && path !== 'node_modules/logloom' && peer !== true)
    .map(([path]) => path.slice(path.lastIndexOf('node_modules/') + 13))
    .filter(name => !listed.has(name))
    .map(name => `${name} is installed and not in the bill of materials`)
}

async function importFaults(home: string): Promise<readonly string[]> {
  const script = `
    const { startBroker } = await import('logloom')
    const { connect } = await import('logloom/client')
    const { parseSpec } = await import('logloom/loglets')
    await import('logloom/loglets/conformance').catch(error => { if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error })
    const broker = await startBroker({ loglet: 'memory', port: 0 })
    const client = await connect(broker.url)
    await client.producer().send('t', { value: 'v' })
    await client.close()
    await broker.close()
    console.log(typeof parseSpec)`
  writeFileSync(join(home, 'embed.js'), script)
  try {
    const { stdout } = await execute(process.execPath, ['embed.js'], { cwd: home, timeout: 60_000 })
    return stdout.trim() === 'function' ? [] : [`imports print ${stdout}`]
  } catch (error) {
    return [`imports: ${(error as Error).message.slice(0, 500)}`]
  }
}

async function useBroker(
  home: string,
): Promise<{ readonly records: number; readonly faults: readonly string[] }> {
  const bin = join(home, 'node_modules/.bin/logloom')
  const broker = spawn(bin, ['start', '--port', '0', '--format', 'json'], {
    cwd: home,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const exited = new Promise<number | string>(resolve => {
    broker.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'))
  })
  try {
    const ready = await Promise.race([
      new Promise<string>(resolve =>
        createInterface({ input: broker.stdout }).once('line', resolve),
      ),
      exited.then(code => {
        throw new Error(`the broker ended with ${code}`)
      }),
    ])
    const { url } = JSON.parse(ready) as { url: string }
    const produce = execute(bin, ['produce', 'greetings', '--url', url], { cwd: home })
    produce.child.stdin?.end('hello\nworld\n')
    await produce
    const consume = ['consume', 'greetings', '-o', 'beginning', '-e', '--url', url]
    const { stdout } = await execute(bin, consume, { cwd: home })
    const records = stdout.trim().split('\n').length
    broker.kill('SIGTERM')
    const code = await exited
    return {
      records,
      faults: [
        ...(records === 2 ? [] : [`${records} records instead of 2: ${stdout}`]),
        ...(code === 0 ? [] : [`the broker ended with ${code}`]),
      ],
    }
  } catch (error) {
    return { records: 0, faults: [(error as Error).message.slice(0, 500)] }
  } finally {
    if (broker.exitCode === null) broker.kill('SIGKILL')
  }
}

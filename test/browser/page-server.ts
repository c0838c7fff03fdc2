// Serves examples/browser with the SDK's bundle on loopback: what a static web server does.

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))

export interface PageServer {
  readonly url: string
  /** Size of the bundle as served. */
  readonly bundleBytes: number
  close(): void
}

/** Bundles the SDK from its sources. */
export async function bundleClient(): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [path('client/index.ts')],
    bundle: true,
    format: 'esm',
    platform: 'browser',
    conditions: ['browser'],
    // package.json points at the build; sources are tested as they are.
    alias: { '#platform': path('wire/platform.browser.ts') },
    write: false,
  })
  return outputFiles[0]?.contents ?? new Uint8Array()
}

export async function servePage(): Promise<PageServer> {
  const bundle = await bundleClient()
  const files = new Map<string, readonly [string, Uint8Array]>([
    ['/', ['text/html', await readFile(path('examples/browser/index.html'))]],
    ['/page.js', ['text/javascript', await readFile(path('examples/browser/page.js'))]],
    ['/logloom.js', ['text/javascript', bundle]],
  ])
  const server = createServer((request, response) => {
    const [type, content] = files.get((request.url ?? '').split('?')[0] ?? '') ?? []
    if (type === undefined) response.writeHead(404).end()
    else response.writeHead(200, { 'content-type': type }).end(content)
  })
  await new Promise<void>(resolve => {
    server.listen(0, '127.0.0.1', () => resolve())
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    bundleBytes: bundle.length,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

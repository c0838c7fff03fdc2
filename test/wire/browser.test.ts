import { randomFillSync } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { describe, expect, it } from 'vitest'
import * as browser from '../../wire/platform.browser.ts'
import * as node from '../../wire/platform.node.ts'

const wire = (file: string): string => fileURLToPath(new URL(`../../wire/${file}`, import.meta.url))

describe('the wire in a browser', () => {
  it('bundles without anything of Node', async () => {
    const { outputFiles, metafile } = await build({
      entryPoints: [wire('index.ts')],
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'browser',
      conditions: ['browser'],
      alias: { '#platform': wire('platform.browser.ts') },
      write: false,
      metafile: true,
    })
    const imports = Object.values(metafile.inputs).flatMap(input => input.imports)
    expect(imports.filter(({ external }) => external)).toEqual([])
    expect(
      Object.keys(metafile.inputs).filter(
        file => /node_modules/.test(file) && !/msgpackr/.test(file),
      ),
    ).toEqual([])
    // What a page loads: 22 KiB when this was written.
    expect(gzipSync(outputFiles[0]?.contents ?? '').length).toBeLessThan(30_000)
  })

  it('has the exports of the Node platform', () => {
    expect(Object.keys(browser).sort()).toEqual(Object.keys(node).sort())
  })

  it('computes the same CRC', () => {
    const bytes = randomFillSync(new Uint8Array(10_000))
    expect(browser.crc32(bytes)).toBe(node.crc32(bytes))
    expect(browser.crc32(bytes.subarray(50), browser.crc32(bytes.subarray(0, 50)))).toBe(
      node.crc32(bytes),
    )
    expect(browser.crc32(new Uint8Array())).toBe(0)
  })

  it('reads gzip written by Node and the other way round', async () => {
    const bytes = new Uint8Array(300_000).map((_, i) => i % 251)
    const byNode = await node.compress('gzip', bytes)
    const byBrowser = await browser.compress('gzip', bytes)
    expect(Buffer.compare(await browser.decompress('gzip', byNode, bytes.length), bytes)).toBe(0)
    expect(Buffer.compare(await node.decompress('gzip', byBrowser, bytes.length), bytes)).toBe(0)
  })

  it.each([
    ['node', node],
    ['browser', browser],
  ])('stops decompressing at the bound (%s)', async (_, { decompress }) => {
    const bomb = gzipSync(new Uint8Array(50_000_000))
    await expect(decompress('gzip', bomb, 10_000)).rejects.toThrow()
    await expect(decompress('gzip', gzipSync('x').subarray(0, 12), 10_000)).rejects.toThrow()
  })

  it('has no zstd', async () => {
    expect(browser.platformCodecs).toEqual(['gzip'])
    await expect(async () => browser.compress('zstd', new Uint8Array(9))).rejects.toThrow(/no zstd/)
  })
})

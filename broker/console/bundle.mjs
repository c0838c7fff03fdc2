// Makes the console's files: one script, one style sheet, one page. Usage: node broker/console/bundle.mjs (npm run build does it)

import { copyFileSync, mkdirSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('../../', import.meta.url))
const files = `${root}dist/broker/console-files`

rmSync(files, { recursive: true, force: true })
mkdirSync(files, { recursive: true })
await build({
  entryPoints: { console: `${root}dist/broker/console/main.js` },
  outdir: files,
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  conditions: ['browser'],
  target: 'es2023',
  logLevel: 'warning',
})
await build({
  entryPoints: { console: `${root}broker/console/console.css` },
  outdir: files,
  bundle: true,
  minify: true,
  logLevel: 'warning',
})
copyFileSync(`${root}broker/console/index.html`, `${files}/index.html`)

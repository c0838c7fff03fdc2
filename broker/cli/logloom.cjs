#!/usr/bin/env -S node --initial-old-space-size=256
// The `logloom` command. CommonJS and free of imports, so that it runs before anything uses libuv's thread pool.
//
// Four slow fsyncs occupy the default pool of four threads and stall every other file call; the pool's size is read from the
// environment when its first job is queued, which is why it is set here and nowhere else. The heap's first size is set above: the
// batches that pass through count as external memory, and with V8's small start every 30 MB of them began a full collection.

'use strict'

const fs = require('node:fs')
const path = require('node:path')
const url = require('node:url')

process.env.UV_THREADPOOL_SIZE ||= '16'
require('node:module').enableCompileCache?.()

const main = path.join(__dirname, '../../dist/broker/cli/main.js')
if (fs.existsSync(main)) {
  void import(url.pathToFileURL(main).href).then(({ main }) => main(process.argv.slice(2)))
} else {
  process.stderr.write(
    'logloom: it is not built yet (no dist/); run `npm ci`, or `npm run build`\n',
  )
  process.exitCode = 1
}

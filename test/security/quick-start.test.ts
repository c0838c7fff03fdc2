// The commands of docs/operations.md, "Security", typed as they stand there: only the port is another one.

import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { cliPath, freePort, rootDirectory, temporaryDirectory } from '../cli/cli-process.ts'

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

it.skipIf(!hasOpenssl)('from nothing to a broker that takes strangers', async () => {
  const page = readFileSync(join(rootDirectory, 'docs/operations.md'), 'utf8')
  const section = page.split('\n## Security\n')[1] ?? ''
  const commands = /```bash\n([\s\S]*?)```/.exec(section)?.[1] ?? ''
  expect(commands).toContain('logloom start')
  const directory = temporaryDirectory()
  const bin = join(directory, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'logloom'), `#!/bin/sh\nexec '${process.execPath}' '${cliPath}' "$@"\n`)
  chmodSync(join(bin, 'logloom'), 0o755)
  const port = String(await freePort())
  const script = commands
    .replaceAll('5640', port)
    .replace('logloom start', `logloom start --port ${port}`)
  const shell = spawn('bash', ['-e', '-c', `trap 'kill $!; wait' EXIT\n${script}`], {
    cwd: directory,
    env: { PATH: `${bin}:${process.env['PATH']}`, HOME: directory },
  })
  let stdout = ''
  let stderr = ''
  shell.stdout.on('data', (text: Buffer) => {
    stdout += text.toString()
  })
  shell.stderr.on('data', (text: Buffer) => {
    stderr += text.toString()
  })
  const code = await new Promise(resolve => shell.once('close', resolve))
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(/^ready wss:/m)
  expect(stdout).toMatch(/^hello$/m)
  expect(stdout.trim().split('\n').at(-1)).toMatch(/^llt_/)
  expect(readFileSync(join(directory, 'alice.token'), 'utf8')).toMatch(/^llk_/)
})

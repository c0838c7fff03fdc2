// `logloom start`: when it is ready, when it refuses, and how it ends.

import { execFile } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  cliPath,
  freePort,
  linesOf,
  run,
  start,
  startBroker,
  temporaryDirectory,
} from './cli-process.ts'
import { RawClient } from '../gateway/raw-client.ts'

function errorOf(stderr: string): { code: string; message: string; hint: string } {
  const line = linesOf(stderr).find(each => each.startsWith('{"error"')) ?? '{}'
  return (JSON.parse(line) as { error: { code: string; message: string; hint: string } }).error
}

/** Runs a command of the shell to its end. */
function shell(command: string): Promise<{ readonly code: number; readonly stderr: string }> {
  return new Promise(resolve => {
    execFile('sh', ['-c', command], { timeout: 20_000 }, (error, _, stderr) =>
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stderr }),
    )
  })
}

describe('logloom start', () => {
  it('prints one line on stdout when it serves', async () => {
    const data = join(temporaryDirectory(), 'data')
    const broker = start(['start', '--data', data, '--port', '0'])
    await broker.until(stdout => stdout.includes('\n'))
    const pattern =
      /^ready ws:\/\/127\.0\.0\.1:\d+\/? pid=(\d+) data=(\S+) loglet=striped:2:file\n$/
    const [, pid, shownData] = pattern.exec(broker.stdout()) ?? []
    expect([Number(pid), shownData]).toEqual([broker.pid, data])
    expect(readFileSync(join(data, 'VERSION'), 'utf8')).toMatch(/^\d+\n$/)
  })

  it('prints one event with --format json', async () => {
    const broker = await startBroker()
    const ready = JSON.parse(broker.stdout()) as object
    expect(ready).toEqual({
      event: 'ready',
      url: broker.url,
      pid: broker.pid,
      data: broker.data,
      loglet: 'striped:2:file',
    })
  })

  it('needs no directory with the memory loglet', async () => {
    const cwd = temporaryDirectory()
    const broker = start(['start', '--port', '0', '--loglet', 'memory'], { cwd })
    await broker.until(stdout => stdout.includes('loglet=memory'))
    expect(existsSync(join(cwd, '.logloom'))).toBe(false)
  })

  it.each(['SIGTERM', 'SIGINT'] as const)('drains and ends with 0 on %s', async signal => {
    const broker = await startBroker()
    const produced = await broker.run(['produce', 'kept'], { input: 'one\ntwo\n' })
    expect(produced.code).toBe(0)
    const { code } = await broker.stop(signal)
    expect(code).toBe(0)
    const again = await startBroker({ data: broker.data })
    const { stdout } = await again.run(['consume', 'kept', '-e'])
    expect(stdout).toBe('one\ntwo\n')
  })

  it('ends with 1 on a second signal, whatever the store is doing', async () => {
    for (let i = 0; i < 8; i++) {
      const broker = await startBroker({
        args: ['--drain-ms', '60000', '--state-commit-interval-ms', '1'],
      })
      // Never takes its close frame, so that the first signal alone cannot end the broker.
      const silent = await RawClient.connect(broker.url)
      silent.ws.pause()
      const writer = await RawClient.connect(broker.url)
      const write = (): Promise<void> =>
        writer.call('publish', { records: [{ topic: 't', value: 'v' }] }).then(write, () => {})
      const writing = [write(), write(), write()]
      await writer.call('publish', { records: [{ topic: 't', value: 'v' }] })
      process.kill(broker.pid, 'SIGTERM')
      await writer.untilPushed(pushes => pushes.some(({ op }) => op === 'goaway'))
      process.kill(broker.pid, 'SIGINT')
      expect((await broker.exited).code).toBe(1)
      await Promise.all(writing)
      silent.ws.terminate()
    }
    // Eight brokers one after the other, each of which may take seconds to start on a busy machine.
  }, 180_000)

  it('refuses a port that is in use, and names it', async () => {
    const broker = await startBroker()
    const data = join(temporaryDirectory(), 'data')
    const args = ['start', '--data', data, '--port', String(broker.port), '--format', 'json']
    const { code, stdout, stderr } = await run(args)
    expect([code, stdout]).toEqual([1, ''])
    const error = errorOf(stderr)
    expect(error.code).toBe('PORT_IN_USE')
    expect(error.message).toContain(String(broker.port))
    expect(error.hint).toContain('--port')
  })

  it('refuses a data directory that another broker uses', async () => {
    const broker = await startBroker()
    const args = ['start', '--data', broker.data, '--port', '0', '--format', 'json']
    const { code, stderr } = await run(args)
    expect([code, errorOf(stderr).code]).toEqual([1, 'DATA_DIR_LOCKED'])
    expect(errorOf(stderr).message).toContain(String(broker.pid))
  })

  it('lets exactly one of several starters have the data directory', async () => {
    const data = join(temporaryDirectory(), 'data')
    const starters = [1, 2, 3].map(() =>
      start(['start', '--data', data, '--port', '0'], { input: '' }),
    )
    const outcomes = starters.map(starter => {
      const ready = starter.until(stdout => stdout.startsWith('ready'))
      return ready.then(
        () => 'ready',
        () => 'refused',
      )
    })
    expect((await Promise.all(outcomes)).sort()).toEqual(['ready', 'refused', 'refused'])
  })

  it('takes over the data directory of a broker that was killed', async () => {
    const broker = await startBroker()
    await broker.stop('SIGKILL')
    const again = await startBroker({ data: broker.data })
    expect((await again.run(['health'])).code).toBe(0)
  })

  it('refuses a data directory that cannot be written', async () => {
    const parent = temporaryDirectory()
    // A file where a directory has to be; permissions would not stop root.
    writeFileSync(join(parent, 'data'), '')
    const args = ['start', '--data', join(parent, 'data'), '--port', '0', '--format', 'json']
    const { code, stderr } = await run(args)
    expect([code, errorOf(stderr).code]).toEqual([1, 'DATA_DIR_UNWRITABLE'])
    if (process.getuid?.() === 0) return
    mkdirSync(join(parent, 'locked'))
    chmodSync(join(parent, 'locked'), 0o500)
    const locked = ['start', '--data', join(parent, 'locked'), '--port', '0', '--format', 'json']
    expect(errorOf((await run(locked)).stderr).code).toBe('DATA_DIR_UNWRITABLE')
  })

  it.skipIf(!existsSync('/proc/self'))('refuses one below /proc at once', async () => {
    for (const [command, code] of [
      ['start', 1],
      ['dev', 1],
    ] as const) {
      const args = [command, '--data', '/proc/x/y', '--port', '0', '--format', 'json']
      const result = await run(args)
      expect([result.code, errorOf(result.stderr).code]).toEqual([code, 'DATA_DIR_UNWRITABLE'])
    }
  })

  it('says that the working directory is gone', async () => {
    const cwd = join(temporaryDirectory(), 'gone')
    mkdirSync(cwd)
    const inGone = (args: string): string =>
      `cd ${cwd} && rmdir ${cwd} && exec ${process.execPath} ${cliPath} start --port 0 --format json ${args}`
    const refused = await shell(inGone(''))
    expect([refused.code, errorOf(refused.stderr).code]).toEqual([1, 'DATA_DIR_UNWRITABLE'])
    expect(errorOf(refused.stderr).message).toContain('was deleted')
    expect(errorOf(refused.stderr).hint).toContain('absolute --data')
  })

  it('refuses a data directory of a newer version and leaves it alone', async () => {
    const data = temporaryDirectory()
    writeFileSync(join(data, 'VERSION'), '999\n')
    const args = ['start', '--data', data, '--port', '0', '--format', 'json']
    const { code, stderr } = await run(args)
    expect([code, errorOf(stderr).code]).toEqual([1, 'DATA_DIR_NEWER'])
    expect(readFileSync(join(data, 'VERSION'), 'utf8')).toBe('999\n')
    expect(existsSync(join(data, 'LOCK'))).toBe(false)
  })

  it('refuses a public address without --insecure-public, and serves with it', async () => {
    const args = ['start', '--host', '0.0.0.0', '--port', '0', '--loglet', 'memory']
    const { code, stderr } = await run([...args, '--format', 'json'])
    expect([code, errorOf(stderr).code]).toEqual([1, 'INSECURE_PUBLIC_BIND'])
    expect(errorOf(stderr).hint).toContain('--insecure-public')
    const broker = start([...args, '--insecure-public'])
    await broker.until(stdout => stdout.startsWith('ready ws://0.0.0.0:'))
  })

  it('refuses a loglet that it does not know', async () => {
    const data = join(temporaryDirectory(), 'data')
    const { code, stderr } = await run([
      'start',
      '--data',
      data,
      '--port',
      '0',
      '--loglet',
      'papyrus',
      '--format',
      'json',
    ])
    expect([code, errorOf(stderr).code]).toEqual([1, 'INVALID_SPEC'])
  })
})

describe('settings of logloom start', () => {
  it('come from the flag, else the environment, else ./logloom.json', async () => {
    const cwd = temporaryDirectory()
    writeFileSync(
      join(cwd, 'logloom.json'),
      JSON.stringify({ port: 0, numPartitions: 2, data: 'own' }),
    )
    const partitions = async (
      args: readonly string[],
      env: Record<string, string>,
    ): Promise<number> => {
      const broker = start(['start', '--format', 'json', ...args], { cwd, env, input: '' })
      await broker.until(stdout => stdout.includes('ready'))
      const { url, data } = JSON.parse(broker.stdout()) as { url: string; data: string }
      expect(data).toBe(join(cwd, 'own'))
      const topic = `t${Math.random()}`
      const { stdout } = await run(['topic', 'create', topic, '--url', url, '--format', 'json'])
      process.kill(broker.pid, 'SIGTERM')
      await broker.exited
      return (JSON.parse(stdout) as { partitions: number }).partitions
    }
    expect(await partitions([], {})).toBe(2)
    expect(await partitions([], { LOGLOOM_NUM_PARTITIONS: '3' })).toBe(3)
    expect(await partitions(['--num-partitions', '4'], { LOGLOOM_NUM_PARTITIONS: '3' })).toBe(4)
  })

  it.each([
    ['an unknown key', '{"prot":1}', 'prot'],
    ['a value of the wrong type', '{"port":"many"}', 'port'],
    ['text that is not JSON', '{port}', 'logloom.json'],
  ])('in logloom.json are refused for %s, naming it', async (_, text, named) => {
    const cwd = temporaryDirectory()
    writeFileSync(join(cwd, 'logloom.json'), text)
    const { code, stderr } = await run(['start', '--format', 'json'], { cwd })
    expect([code, errorOf(stderr).code]).toEqual([1, 'INVALID_CONFIG'])
    expect(errorOf(stderr).message).toContain(named)
  })

  it('may forbid topics that nobody created', async () => {
    const broker = await startBroker({ args: ['--auto-create-topics-enable', 'false'] })
    const { code, stderr } = await broker.run(['produce', 'nobody', '--format', 'json'], {
      input: 'x\n',
    })
    expect([code, errorOf(stderr).code]).toEqual([1, 'UNKNOWN_TOPIC'])
  })
})

describe('the command line', () => {
  it.each([
    [[]],
    [['frobnicate']],
    [['topic']],
    [['topic', 'create']],
    [['topic', 'create', 'x', '--partitions', 'many']],
    [['topic', 'alter', 'x']],
    [['topic', 'alter', 'x', '--config', 'novalue']],
    [['produce', 'x', '-K', ':', '--key-field', 'id']],
    [['produce', 'x', '-p', '-1']],
    [['consume']],
    [['consume', 'x', '-o', 'middle']],
    [['consume', 'x', '-f', '%q']],
    [['consume', 'x', '--frobnicate']],
    [['log', 'trim', 'soon']],
    [['health', '--wait', 'long']],
    [['--format', 'yaml', 'topic', 'list']],
    [['topic', 'list', '--url', 'http://localhost', 'more']],
  ])('ends with 2 for what it cannot understand: %j', async args => {
    const { code, stdout, stderr } = await run(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('logloom: USAGE: ')
  })

  it('reports usage errors as JSON too', async () => {
    const { code, stderr } = await run(['consume', 'x', '-n', 'all', '--format', 'json'])
    expect(code).toBe(2)
    expect(linesOf(stderr)).toHaveLength(1)
    expect(errorOf(stderr)).toMatchObject({ code: 'USAGE' })
  })

  it('takes --url and --format before and after the command', async () => {
    const broker = await startBroker()
    const before = await run(['--url', broker.url, '--format', 'json', 'topic', 'list'])
    const after = await run(['topic', 'list', '--format', 'json', '--url', broker.url])
    expect(before).toEqual({ code: 0, stdout: '{"topics":[]}\n', stderr: '' })
    expect(after).toEqual(before)
  })

  it('takes the address from LOGLOOM_URL', async () => {
    const broker = await startBroker()
    const { code } = await run(['topic', 'list'], { env: { LOGLOOM_URL: broker.url } })
    expect(code).toBe(0)
  })

  it('ends with 1 at once when no broker listens', async () => {
    const url = `ws://127.0.0.1:${await freePort()}`
    for (const args of [
      ['topic', 'list'],
      ['consume', 'x'],
      ['log', 'describe'],
    ]) {
      const { code, stderr } = await run([...args, '--url', url, '--format', 'json'])
      expect(code, args.join(' ')).toBe(1)
      expect(errorOf(stderr).code).toBe('CONNECTION_CLOSED')
      expect(errorOf(stderr).hint).toContain('logloom start')
    }
  })
})

// `logloom dev`: a whole cluster, and what it says when nodes end.

import { execFile } from 'node:child_process'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { linesOf, type RunningCommand, run, start, temporaryDirectory } from './cli-process.ts'

interface Ready {
  readonly nodes: readonly { node: string; url: string; pid: number; peerUrl: string }[]
}

let dev: RunningCommand | undefined
const taken: Server[] = []
/** Nodes are processes of their own, which outlive whoever started them. */
const pids: number[] = []

afterEach(async () => {
  if (dev !== undefined && dev.child.exitCode === null) {
    dev.child.kill('SIGTERM')
    await dev.exited
  }
  dev = undefined
  for (const pid of pids.splice(0))
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended.
    }
  for (const server of taken.splice(0)) server.close()
})

async function startDev(args: readonly string[]): Promise<Ready> {
  dev = start(['dev', '--port', '0', '--format', 'json', ...args], { input: '' })
  await dev.until(stdout => stdout.includes('\n'))
  const ready = JSON.parse(dev.stdout()) as Ready
  pids.push(...ready.nodes.map(({ pid }) => pid))
  return ready
}

async function occupy(): Promise<number> {
  const server = createServer()
  taken.push(server)
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  return (server.address() as { port: number }).port
}

describe('logloom dev', { timeout: 60_000 }, () => {
  it('runs a cluster that is well, and says what starts a node again that ended', async () => {
    const data = join(temporaryDirectory(), "it's here")
    const { nodes } = await startDev(['--nodes', '3', '--data', data])
    expect(nodes.map(({ node }) => node)).toEqual(['n1', 'n2', 'n3'])
    for (const { peerUrl } of nodes) expect(peerUrl).toMatch(/^ws:\/\/127\.0\.0\.1:\d+$/)
    const url = nodes.map(each => each.url).join()
    expect((await run(['health', '--wait', '30', '--url', url])).code).toBe(0)

    process.kill(nodes[2]?.pid as number, 'SIGKILL')
    await dev?.until((_, stderr) => stderr.includes('"event":"ended"'))
    const line = linesOf(dev?.stderr() ?? '').find(each => each.startsWith('{"event":"ended"'))
    const ended = JSON.parse(line ?? '') as { node: string; how: string; restart: string }
    expect(ended).toMatchObject({ node: 'n3', how: 'SIGKILL' })
    await expect(run(['health', '--url', url, '--serving'])).resolves.toMatchObject({ code: 10 })

    // As it is printed, in a shell.
    const shell = execFile('sh', ['-c', `exec ${ended.restart}`])
    pids.push(shell.pid as number)
    const whole = await run(['health', '--wait', '30', '--url', url])
    expect([whole.code, whole.stdout]).toEqual([0, expect.stringContaining('ok')])
  })

  it('ends with 1 when all nodes failed, with the error of each, marked and last', async () => {
    const port = await occupy()
    const data = join(temporaryDirectory(), 'data')
    const args = ['dev', '--nodes', '1', '--port', String(port), '--data', data]
    const { code, stdout, stderr } = await run(args)
    expect([code, stdout]).toEqual([1, ''])
    const lines = linesOf(stderr)
    const at = lines.findIndex(line => line.startsWith('node n1: PORT_IN_USE: '))
    expect(lines.slice(at)).toEqual([
      expect.stringContaining(`port ${port}`),
      expect.stringContaining('hint: '),
      expect.stringMatching(/^node n1 \(pid \d+\) ended with exit code 1; start it again with$/),
      expect.stringContaining(` start --node n1 --peers n1=ws://127.0.0.1:`),
    ])
  })

  it('refuses a directory of a cluster of another size', async () => {
    const data = join(temporaryDirectory(), 'data')
    await startDev(['--nodes', '1', '--data', data])
    dev?.child.kill('SIGTERM')
    expect((await dev?.exited)?.code).toBe(0)
    const { code, stderr } = await run(['dev', '--nodes', '3', '--data', data])
    expect([code, stderr]).toEqual([2, expect.stringContaining('--nodes 1')])
  })
})

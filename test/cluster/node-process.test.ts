// The link to a node in another process that is killed or stopped.

import type { ChildProcess } from 'node:child_process'
import { afterEach, expect, it } from 'vitest'
import type { PeerNet } from '../../broker/cluster/peer-net.ts'
import { failureOf } from './net-contract.ts'
import { startEchoNode } from './node-process.ts'
import { openNode, until } from './nodes.ts'

let child: ChildProcess | undefined
let a: PeerNet | undefined

afterEach(async () => {
  child?.kill('SIGKILL')
  await a?.close()
})

async function connected(): Promise<[PeerNet, ChildProcess]> {
  a = await openNode('a', { peerTimeoutMs: 500 })
  child = await startEchoNode('b', a)
  expect(await a.call('b', 'test.echo', { n: 1 }, { timeoutMs: 5000 })).toEqual({ n: 1 })
  return [a, child]
}

it('calls to a node that is killed break at once', async () => {
  const [net, process] = await connected()
  const call = failureOf(net.call('b', 'test.hang', {}, { timeoutMs: 30_000 }))
  const began = performance.now()
  process.kill('SIGKILL')
  expect(await call).toMatchObject({ code: 'BROKEN' })
  expect(performance.now() - began).toBeLessThan(400)
})

it('calls to a node that is stopped break after the limit of silence; it is back when it goes on', async () => {
  const [net, process] = await connected()
  process.kill('SIGSTOP')
  const began = performance.now()
  const error = await failureOf(net.call('b', 'test.echo', {}, { timeoutMs: 30_000 }))
  expect(error).toMatchObject({ code: 'BROKEN', message: expect.stringContaining('silent') })
  expect(performance.now() - began).toBeLessThan(2000)
  expect(net.peers()[0]).toMatchObject({ connected: false })
  process.kill('SIGCONT')
  await until('it is connected again', () => net.peers()[0]?.connected === true)
  expect(await net.call('b', 'test.echo', { n: 2 }, { timeoutMs: 5000 })).toEqual({ n: 2 })
})

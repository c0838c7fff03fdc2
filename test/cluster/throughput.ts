// How fast the link between two processes is: `node dist/test/cluster/throughput.js`. Prints; promises nothing.

import { startEchoNode } from './node-process.ts'
import { openNode } from './nodes.ts'

const inFlight = 32
const warmUpMs = 500
const measureMs = 3000

const a = await openNode('a', { peerTimeoutMs: 2000 })
const child = await startEchoNode('b', a)
for (const size of [100, 64 << 10, 1 << 20]) {
  const bytes = new Uint8Array(size)
  await run(bytes, warmUpMs)
  const { calls, ms, worstMs } = await run(bytes, measureMs)
  const perSecond = (calls / ms) * 1000
  console.log(
    `${size} B, ${inFlight} in flight: ${Math.round(perSecond)} calls/s, ${((perSecond * size) / 1e6).toFixed(1)} MB/s, mean ${((inFlight * ms) / calls).toFixed(2)} ms, worst ${worstMs.toFixed(1)} ms`,
  )
}
child.kill()
await a.close()

async function run(
  bytes: Uint8Array,
  forMs: number,
): Promise<{ calls: number; ms: number; worstMs: number }> {
  const began = performance.now()
  let calls = 0
  let worstMs = 0
  const caller = async (): Promise<void> => {
    for (let now = began; now - began < forMs; calls++) {
      const sent = now
      await a.call('b', 'test.take', { bytes }, { timeoutMs: 10_000 })
      now = performance.now()
      worstMs = Math.max(worstMs, now - sent)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, caller))
  return { calls, ms: performance.now() - began, worstMs }
}

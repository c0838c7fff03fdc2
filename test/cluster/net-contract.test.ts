import { netContract } from './net-contract.ts'
import { introduce, openNode } from './nodes.ts'

netContract('WebSocket', async () => {
  const [a, b] = await Promise.all([openNode('a'), openNode('b')])
  introduce(a, b)
  return {
    a,
    b,
    close: async () => {
      await Promise.all([a.close(), b.close()])
    },
  }
})

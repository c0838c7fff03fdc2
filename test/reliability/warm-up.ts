// Ordinary traffic, so that a process that was just started is as one that has served for a while: batches produced through several connections
// and consumed, small requests, connections that come and go. Nothing of it is large, and nothing breaks a rule.

import { encodeBatch, type Frame, LogloomError } from '../../wire/index.ts'
import { openChannel } from '../acceptance/measure.ts'

const batchesPerConnection = 600
const connections = 4
const inFlight = 8
const partitions = 4

/** Produces 150 MB of records of 1 KB and fetches them. */
export async function warmUp(url: string): Promise<void> {
  const admin = await openChannel(url)
  await admin.request('createTopic', { topic: 'warm-up', partitions })
  const batch = encodeBatch(
    Array.from({ length: 62 }, () => ({ value: 'x'.repeat(1000) })),
    { now: 1 },
  )
  await Promise.all(
    Array.from({ length: connections }, async (_, i) => {
      const partition = i % partitions
      const channel = await openChannel(url)
      let sent = 0
      const lane = async (): Promise<void> => {
        while (sent++ < batchesPerConnection)
          await patiently(() => channel.request('produce', { topic: 'warm-up', partition, batch }))
      }
      await Promise.all(Array.from({ length: inFlight }, lane))
      let from = 0
      for (let end = 1; from < end; ) {
        const reply = await channel.request('fetch', { topic: 'warm-up', partition, from })
        from = reply['next'] as number
        end = reply['end'] as number
      }
      channel.close()
    }),
  )
  for (let i = 0; i < 200; i++) {
    const channel = await openChannel(url)
    await Promise.all(Array.from({ length: 20 }, () => channel.request('describeBroker')))
    channel.close()
  }
  admin.close()
}

/** Again while the broker has no time for it: disks of shared machines are slow now and then. */
async function patiently(request: () => Promise<Frame>): Promise<Frame> {
  for (;;)
    try {
      return await request()
    } catch (error) {
      if (!(error instanceof LogloomError) || error.code !== 'THROTTLED') throw error
      await new Promise(resolve => setTimeout(resolve, Number(error.details['retryAfterMs'] ?? 50)))
    }
}

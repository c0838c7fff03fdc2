// Throughput of one protocol after another on a live cluster: the log is switched, and the load goes on.

import { connect } from '../../client/index.ts'
import { megabytesPerSecond, runLoad } from '../speed/options.ts'

const shape = { recordBytes: 1024, batchBytes: 65_536, inFlight: 48 } as const
export const shapeText = '1 KB records in batches of 64 KB, 48 batches (3 MB) in flight'
/** Of the brokers: machines made slow on purpose must not turn the load away because it would wait too long (`queueTimeTargetMs`). */
export const patientBroker = ['--queue-time-target-ms', '10000'] as const
const warmSeconds = 0.2

/** MB/s through the broker at `url`, once the open segment is one of `spec`. */
export async function throughputWith(url: string, spec: string, seconds: number): Promise<number> {
  const client = await connect(url)
  try {
    const admin = client.admin()
    const open = (await admin.describeLog()).segments.at(-1)?.spec
    if (open !== spec) await admin.switchLog(spec)
  } finally {
    await client.close()
  }
  const options = { ...shape, url, hello: true, topic: 'bench' }
  await runLoad({ ...options, seconds: warmSeconds })
  return megabytesPerSecond(await runLoad({ ...options, seconds }))
}

// Plain records through the SDK: what an application pays for encoding, batching and tickets on top of load-client.ts. Prints the same
// line. Usage: node sdk-client.js JSON (LoadOptions)

import { connect } from '../../client/index.ts'
import type { LoadOptions, LoadResult } from './options.ts'

const options = JSON.parse(process.argv[2] ?? '') as LoadOptions
const maxInflightBytes = 2 * options.inFlight * options.batchBytes
const client = await connect(options.url)
const producer = client.producer({
  batchSize: options.batchBytes,
  lingerMs: 5,
  maxInflightBytes,
})
const text = 'the quick brown fox jumps over the lazy dog 0123456789 '
const value = text
  .repeat(Math.ceil(options.recordBytes / text.length))
  .slice(0, options.recordBytes)

const start = performance.now()
const end = start + options.seconds * 1000
let records = 0
while (performance.now() < end) {
  // As many as fit; then the broker has the processor, until there is room again.
  while (producer.inflightBytes < maxInflightBytes) {
    producer.enqueue(options.topic, { value }, { partition: 0 })
    records++
  }
  await producer.ready()
}
await producer.flush()
const seconds = (performance.now() - start) / 1000
const result: LoadResult = {
  batches: Math.round((records * options.recordBytes) / options.batchBytes),
  records,
  bytes: records * options.recordBytes,
  seconds,
  // JSON has no NaN: nothing was measured.
  p50: -1,
  p99: -1,
}
process.stdout.write(`${JSON.stringify(result)}\n`)
await client.close()

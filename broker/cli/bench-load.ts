// Loads that `logloom bench` and the repository's own benchmarks put on a broker.

import type { Client, Producer } from '../../client/index.ts'

export interface Sample {
  /** When the record was due, ms since the load began. */
  readonly at: number
  /** From then until its ack. */
  readonly ms: number
}

export interface LoadOptions {
  readonly topic: string
  /** Of one value. */
  readonly bytes: number
}

/** Different keys, so that all partitions get something. */
const keyCount = 97

/**
 * Sends at a fixed rate, whatever becomes of it. A record's latency counts from when it was due: a stall must not hide behind records that were not
 * sent meanwhile (coordinated omission).
 */
export class OpenLoad {
  readonly samples: Sample[] = []
  sent = 0
  errors = 0
  private readonly begun = performance.now()
  private readonly stopping = new AbortController()
  private readonly done: Promise<void>

  /** `rate`: records per second, all clients together. */
  constructor(clients: readonly Client[], { topic, bytes, rate }: LoadOptions & { rate: number }) {
    const producers = clients.map(client => client.producer({ lingerMs: 0 }))
    this.done = this.run(producers, topic, 'x'.repeat(bytes), rate)
  }

  /** Since the load began. */
  get second(): number {
    return (performance.now() - this.begun) / 1000
  }

  /** Sends nothing more, and waits for all acks. */
  async stop(): Promise<void> {
    this.stopping.abort()
    await this.done
  }

  private async run(
    producers: readonly Producer[],
    topic: string,
    value: string,
    rate: number,
  ): Promise<void> {
    const pending = new Set<Promise<void>>()
    while (!this.stopping.signal.aborted) {
      const due = Math.floor((performance.now() - this.begun) * (rate / 1000))
      for (; this.sent < due; this.sent++) {
        const at = (this.sent / rate) * 1000
        const producer = producers[this.sent % producers.length] as Producer
        const key = String(this.sent % keyCount)
        const acked = producer.send(topic, { key, value }).then(
          () => {
            this.samples.push({ at, ms: performance.now() - this.begun - at })
          },
          () => {
            this.errors++
          },
        )
        pending.add(acked)
        void acked.then(() => pending.delete(acked))
      }
      await new Promise(resolve => setTimeout(resolve, 1))
    }
    await Promise.all(pending)
    await Promise.all(producers.map(producer => producer.close()))
  }
}

/** Sends as fast as acks come, until `signal` says stop. @returns records that were acked */
export async function closedLoad(
  clients: readonly Client[],
  { topic, bytes }: LoadOptions,
  signal: AbortSignal,
  onAcked: (records: number) => void,
): Promise<number> {
  const value = 'x'.repeat(bytes)
  const batch = Math.max(1, Math.min(500, Math.floor((256 << 10) / Math.max(1, bytes))))
  let total = 0
  const run = async (client: Client): Promise<void> => {
    const producer = client.producer()
    let n = 0
    const lane = async (): Promise<void> => {
      while (!signal.aborted) {
        const sends = Array.from({ length: batch }, () =>
          producer.send(topic, { key: String(n++ % keyCount), value }),
        )
        await Promise.all(sends)
        total += sends.length
        onAcked(sends.length)
      }
    }
    await Promise.all([lane(), lane(), lane()])
    await producer.close()
  }
  await Promise.all(clients.map(run))
  return total
}

/** The value below which `q` of them lie, rounded to hundredths; 0 of none. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0
  return Math.round(value * 100) / 100
}

// The scoreboard's rows: what may happen to a broker or is done to it, what has to hold, and how much of it counts as shown. docs/reliability.md
// is written from this and from what the programs counted.

export interface Row {
  readonly row: number
  readonly trouble: string
  /** What has to hold. */
  readonly demand: string
  /** How much has to be run before a release. */
  readonly amount: string
  /** What CI runs at every change; absent: nothing. */
  readonly ci?: string
}

export const rows: readonly Row[] = [
  {
    row: 1,
    trouble: 'all faults at once, simulated, seed after seed',
    demand: 'no invariant is ever violated',
    amount: '1,000,000 seeds',
    ci: '`test/simulation/*.test.ts`; fresh seeds for 60 s (`.ci/run`)',
  },
  {
    row: 2,
    trouble: 'one seed, run twice',
    demand: 'the traces are equal',
    amount: 'some seeds of every scenario',
    ci: '`test/simulation/determinism.test.ts`',
  },
  {
    row: 3,
    trouble: 'bugs planted into the code',
    demand: 'the simulation finds each of them, half of them within 500 seeds',
    amount: '20 bugs or more',
    ci: '`test/mutations/mutations.test.ts`',
  },
  {
    row: 4,
    trouble: 'kill -9 of one of three nodes every 5 s',
    demand: 'nothing lost, repeated or unseen; the longest gap between acks below 2 s at p99',
    amount: '30 minutes, 5 M records',
    ci: '`acceptance.test.ts`; chaos for 60 s (`.ci/run`)',
  },
  {
    row: 5,
    trouble: 'the power of all nodes fails, what was not synced is gone',
    demand: 'nothing acked is lost',
    amount: 'a share of the seeds of row 1',
    ci: 'as row 1',
  },
  {
    row: 6,
    trouble: 'the power of one node fails while another is paused or cut off',
    demand: 'nothing acked is lost, and the log does not split in two',
    amount: 'a share of the seeds of row 1; real processes',
    ci: 'as row 1; chaos for 60 s (`.ci/run`)',
  },
  {
    row: 7,
    trouble: 'bits flip in the files of a minority of log servers',
    demand: 'nothing lost, no wrong byte served, repaired within 10 minutes',
    amount: '1,000 flips',
  },
  {
    row: 8,
    trouble: 'the writer dies at any point',
    demand:
      'its files open; only what was not acked may be gone; nothing below the watermark is cut off',
    amount: 'every crash point',
    ci: '`test/loglets/crash-points.test.ts`, `test/loglets/file/crash-points.test.ts`',
  },
  {
    row: 9,
    trouble: 'a sync fails with EIO, and succeeds when it is tried again',
    demand: 'the process stops within 1 s, nothing of the lost range is acked, the cluster goes on',
    amount: 'on every loglet that keeps files',
    ci: '`acceptance.test.ts`',
  },
  {
    row: 10,
    trouble: 'the disk of one node is full, then of all',
    demand:
      'with one the service goes on; with all appends are refused with a code and reads go on; space is enough to recover',
    amount: 'once for each',
    ci: '`acceptance.test.ts`; chaos for 60 s (`.ci/run`)',
  },
  {
    row: 11,
    trouble: 'links are cut: majority, minority, one way, in a ring, again and again',
    demand: 'as row 4; the side of the majority is back within 3 s',
    amount: '30 minutes',
    ci: 'chaos for 60 s (`.ci/run`)',
  },
  {
    row: 12,
    trouble: 'the sequencer is paused for 30 s and goes on as if nothing had been',
    demand: 'none of its writes counts, none of its reads is stale',
    amount: 'a share of the seeds of row 1; real processes',
    ci: 'as row 1',
  },
  {
    row: 13,
    trouble: 'clocks jump by an hour and drift by half a second',
    demand: 'no safety depends on them',
    amount: 'a share of the seeds of row 1',
    ci: 'as row 1',
  },
  {
    row: 14,
    trouble: 'retries, duplicates, reordered requests, clients that die',
    demand: 'each record takes effect once; what comes late meets nothing',
    amount: '5 M records',
    ci: '`acceptance.test.ts`, `test/client/retries.test.ts`, `test/broker/late-tries.test.ts`',
  },
  {
    row: 15,
    trouble: 'the log is switched every 2 s under load and kills',
    demand: 'no violation; a switch takes 100 ms at p99',
    amount: 'as row 1; real processes',
    ci: '`acceptance.test.ts`; chaos for 60 s (`.ci/run`)',
  },
  {
    row: 16,
    trouble: 'services that the log depends on answer late, twice or wrongly',
    demand: 'no violation; refused and unknown stay apart',
    amount: 'every loglet on a foreign service',
  },
  {
    row: 17,
    trouble: '1,000 consumers stop reading while a producer writes at full speed',
    demand:
      'memory grows by 512 MiB at most, others are at most twice as slow at p99, the stalled are closed with 3008 within 15 s',
    amount: 'once',
    ci: '`test/reliability/load.test.ts`',
  },
  {
    row: 18,
    trouble: 'twice the load that the broker can bear',
    demand:
      'goodput stays above 90 % of its peak, memory is bounded, and 10 s after all is as before',
    amount: '10 minutes',
    ci: '`test/reliability/load.test.ts`',
  },
  {
    row: 19,
    trouble: 'SIGTERM under load',
    demand:
      'nothing acked is lost, no client sees an error that a retry does not mend, the process ends within 60 s',
    amount: 'ten times',
    ci: '`test/reliability/load.test.ts`',
  },
  {
    row: 20,
    trouble:
      'hostile frames: lengths that lie, nests, floods of fragments and pings, overlong UTF-8 and more, against a heap of 512 MB',
    demand:
      'the connection is closed, the process lives, memory grows by 64 MiB at most, other clients wait 50 ms at most (a ping, without what the timer of that client itself was late by)',
    amount: 'every attack of the suite',
    ci: '`test/reliability/hostile-frames.test.ts`',
  },
  {
    row: 21,
    trouble: 'slowloris, silent, unauthenticated and half-open sockets, 10,000 of them',
    demand: 'cut off within 5 s; who means well connects within 1 s at p99',
    amount: 'once for each',
    ci: '`test/reliability/load.test.ts`',
  },
  {
    row: 22,
    trouble:
      'foreign origins; tokens that are expired, revoked, foreign or in the query; everything that a principal may not do',
    demand: 'all refused, nothing secret in any log',
    amount: 'every cell of the matrix',
    ci: '`test/security/*.test.ts`, `test/gateway/origin.test.ts`',
  },
  {
    row: 23,
    trouble: 'mutated input at every decoder',
    demand:
      'no crash, no hang above 50 ms per MiB, no polluted prototype; the corpus is replayed at every change',
    amount: '100 M executions for frames and batches, 20 core-minutes for each other decoder',
    ci: '`test/fuzz/fuzz.test.ts`: the corpus, and half a second of each',
  },
  {
    row: 24,
    trouble: 'the supply chain',
    demand:
      'few runtime dependencies (the aim is 6), none needs an install script, none known to be younger than 7 days, all pinned by the lockfile',
    amount: 'the lockfile, the package',
    ci: '`test/reliability/supply-chain.test.ts`',
  },
]

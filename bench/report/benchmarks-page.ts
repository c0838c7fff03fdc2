// docs/benchmarks.md, made of what was measured: no number in it is written by hand.

import type { SwitchReport, SwitchRun } from '../switch/main.ts'

export function benchmarksPage(report: SwitchReport): string {
  const { machine, command, commit, options } = report
  return `# Benchmarks

Made by \`${command}\` at ${commit}: do not edit. Numbers of one machine, good for comparing the rows of one table with each other.

Machine: ${machine}.

## A switch under load

${options.rate} records of ${options.bytes} bytes per second over four connections, each with a latency from the moment at which it was due (so that a stall counts for all records that it delays) until
its ack. \`file\` and \`native\` sync every record before its ack; \`memory\` keeps them in memory only. All nodes of the cluster share one disk and two cores here: it shows
what a switch does, not what a cluster of machines can do.

${report.runs.map(runSection).join('\n')}`
}

function runSection(run: SwitchRun, i: number): string {
  const pauses = [...run.pausesMs].sort((a, b) => a - b)
  const at = (q: number): string =>
    (pauses[Math.min(pauses.length - 1, Math.floor(pauses.length * q))] ?? 0).toFixed(1)
  const rows = run.held.map(
    ({ spec, recordsPerSecond, p50, p99 }) =>
      `| \`${spec}\` | ${recordsPerSecond} | ${p50.toFixed(1)} | ${p99.toFixed(1)} |`,
  )
  return `### ${run.name.charAt(0).toUpperCase()}${run.name.slice(1)}

![Throughput and latency over time, with the switches](benchmarks/switch-${i + 1}.svg)

| protocol | records/s | p50 ms | p99 ms |
|---|---|---|---|
${rows.join('\n')}

${run.sent} records sent, ${run.acked} acked, ${run.errors} errors. Longest gap without an ack of each of ${pauses.length} switches, as the broker saw it: median ${at(0.5)} ms, least ${at(0)} ms,
most ${at(1)} ms.
`
}

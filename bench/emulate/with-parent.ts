// Preloaded into the benchmark's Node processes: they end when the benchmark is gone, however it ended.

const parent = Number(process.env.BENCH_PARENT)
const everyMs = 1000

if (parent > 0) {
  const timer = setInterval(() => {
    if (process.ppid !== parent) process.kill(process.pid, 'SIGKILL')
  }, everyMs)
  timer.unref()
}

// How long something was computed. The machine has other work, and a fuzzer may run with a low priority: time during which it did not get
// the processor says nothing about an input. The processor's time counts V8's helpers too, hence the smaller of the two.

/** @returns ms since this call, of the clock on the wall or of the processor, whichever is less */
export function stopwatch(): () => number {
  const wall = performance.now()
  const processor = processorMs()
  return () => Math.min(performance.now() - wall, processorMs() - processor)
}

/** Of all threads of this process, in ms. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

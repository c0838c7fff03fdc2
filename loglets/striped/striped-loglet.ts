// placeholder
import type { Loglet } from '../contract.ts'
import type { Clock, Random } from '../ports.ts'
export interface StripedPorts {
  readonly clock: Pick<Clock, 'sleep' | 'now'>
  readonly random: Pick<Random, 'next'>
}
export const StripedLoglet = {
  over(_inner: readonly Loglet[], _ports?: StripedPorts): Promise<Loglet> {
    throw new Error('soon')
  },
}

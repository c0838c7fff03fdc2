// The applier on a log that cannot be read for a while, and on one that is broken.

import { describe, expect, it } from 'vitest'
import { Applier } from '../../broker/engine/applier.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'
import { LogletLostError, LogletUnavailableError } from '../../loglets/contract.ts'
import { MetaStoreUnavailableError } from '../../loglets/metastore/paxos/paxos-metastore.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'

/** On positions 0 to 9, which hold nothing; the first reads fail with `errors`. */
function applierOf(errors: readonly Error[]) {
  const machine = new StateMachine(new MemoryStore())
  const left = [...errors]
  const log = {
    chain: { segments: [{ start: 0, index: 0 }] },
    readNext: async (from: number, to: number) => {
      const error = left.shift()
      if (error !== undefined) throw error
      return [{ kind: 'gap', gap: 'filler', from, to }]
    },
  }
  const told: Error[] = []
  const fatal: Error[] = []
  const applier = new Applier({
    log: log as unknown as VirtualLog,
    machine,
    onApplied: () => {},
    onProgress: () => {},
    beforeSegment: () => undefined,
    beforeLost: async () => {},
    onLost: () => {},
    onFatal: error => fatal.push(error),
    onUnavailable: async error => void told.push(error),
    readBytesMax: 1000,
  })
  return { applier, told, fatal }
}

describe('the applier', () => {
  it('reads on when what did not answer does again: log servers, a chain that is out of date, the register', async () => {
    const errors = [
      new LogletUnavailableError('too few answer', 'unknown'),
      new LogletLostError('dropped', 'unknown'),
      new MetaStoreUnavailableError('the register does not answer'),
    ]
    const { applier, told, fatal } = applierOf(errors)
    applier.advance(10)
    await applier.appliedUpTo(10)
    expect(told).toEqual(errors)
    expect(fatal).toEqual([])
  })

  it('ends when the log is broken', async () => {
    const broken = new Error('cannot be')
    const { applier, told, fatal } = applierOf([broken])
    applier.advance(10)
    await expect(applier.appliedUpTo(10)).rejects.toThrow('cannot be')
    expect(fatal).toEqual([broken])
    expect(told).toEqual([])
  })
})

import { describe, expect, it } from 'vitest'
import { sweepOnce } from '../../broker/producer-expiry.ts'
import type { Command, Decision } from '../../broker/state/commands.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { transactionalIdExpirationMs } from '../../broker/state/producers.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'
import { nodeClock } from '../../loglets/node-clock.ts'

const idleMs = 1000

/** A machine with one session whose entries carry the given stamps. */
function machineWithLog(): {
  machine: StateMachine
  readonly propose: (command: Command, stamp: number) => Decision
} {
  const machine = new StateMachine(new MemoryStore())
  machine.apply(0, {
    header: { session: -1, sequence: 0, stamp: 0 },
    bytes: 0,
    commands: [{ command: { type: 'open', node: 'n', incarnation: 'i' }, batchStarts: [] }],
  })
  let sequence = 0
  return {
    machine,
    propose: (command, stamp) => {
      const { applied } = machine.apply(machine.applied, {
        header: { session: 0, sequence: sequence++, stamp },
        bytes: 0,
        commands: [{ command, batchStarts: [] }],
      })
      return applied[0]?.decisions[0] as Decision
    },
  }
}

describe('a producer that is idle', () => {
  it('is forgotten once log time says so, and no sooner', async () => {
    const { machine, propose } = machineWithLog()
    propose({ type: 'initProducer' }, 100)
    propose({ type: 'initProducer' }, 900)
    const sweep = (stamp: number): Promise<number> =>
      sweepOnce({
        machine,
        clock: nodeClock,
        idleMs,
        propose: command => Promise.resolve(propose(command, stamp)),
      })
    propose({ type: 'stamp' }, 1050)
    expect(await sweep(1050)).toBe(0)
    propose({ type: 'stamp' }, 1200)
    expect(await sweep(1200)).toBe(1)
    expect([...machine.producers.all()].map(p => p.id)).toEqual([2])
  })

  it('is kept when it came back between the proposal and its effect', () => {
    const { machine, propose } = machineWithLog()
    propose({ type: 'initProducer' }, 100)
    propose({ type: 'initProducer', producerId: 1, producerEpoch: 0 }, 1500)
    propose({ type: 'expireProducers', ids: [1], idleMs }, 1600)
    expect(machine.producers.get(1)?.epoch).toBe(1)
  })

  it('is answered UNKNOWN_PRODUCER when it goes on as if nothing had happened', () => {
    const { machine, propose } = machineWithLog()
    propose({ type: 'initProducer' }, 100)
    propose({ type: 'expireProducers', ids: [1], idleMs }, 5000)
    expect(machine.producers.get(1)).toBeUndefined()
    const decision = propose(
      {
        type: 'createTopic',
        topic: 't',
        partitions: 1,
        config: {},
        ifNotExists: false,
        producer: { id: 1, epoch: 0, sequence: 3 },
      },
      5001,
    )
    expect(decision).toMatchObject({ ok: false, code: 'UNKNOWN_PRODUCER', decided: false })
  })
})

describe('a producer with a transactional id', () => {
  it('is remembered for longer, so that its former owners stay fenced', async () => {
    const { machine, propose } = machineWithLog()
    const init: Command = { type: 'initProducer', transactionalId: 'tx' }
    let time = 1
    const sweep = (): Promise<number> => {
      propose({ type: 'stamp' }, time)
      const later = async (command: Command): Promise<Decision> => propose(command, time)
      return sweepOnce({ machine, clock: nodeClock, idleMs, propose: later })
    }
    expect(propose(init, time)).toMatchObject({ result: { producerId: 1, producerEpoch: 0 } })
    time += transactionalIdExpirationMs - 1
    expect(await sweep()).toBe(0)
    expect(propose(init, time)).toMatchObject({ result: { producerId: 1, producerEpoch: 1 } })
    time += transactionalIdExpirationMs
    expect(await sweep()).toBe(1)
    expect(propose(init, time)).toMatchObject({ result: { producerId: 2, producerEpoch: 0 } })
  })
})

// What a review found, as tests: a try whose answer never came and that comes in later, holes of an older session, batches that were held back
// below others of their partition, and two checkpoints at once.

import { describe, expect, it } from 'vitest'
import type { EncodedEntry } from '../../broker/engine/entry.ts'
import { encodeEntry } from '../../broker/engine/entry.ts'
import { Persister } from '../../broker/engine/persister.ts'
import { Proposer } from '../../broker/engine/proposer.ts'
import { LogOperations, type LogOperationsOptions } from '../../broker/log-operations.ts'
import { passingDisk } from '../../broker/passing-disk.ts'
import { restoreCheckpoint, writeCheckpoint } from '../../broker/state/checkpoint.ts'
import { LivePlaces } from '../../broker/cleaning/live-places.ts'
import type { Command, ParsedEntry } from '../../broker/state/commands.ts'
import { MemoryStore } from '../../broker/state/memory-store.ts'
import { StateMachine } from '../../broker/state/state-machine.ts'
import { LogletRefusedError, LogletUnavailableError } from '../../loglets/contract.ts'
import { nodeClock } from '../../loglets/node-clock.ts'
import type { Clock } from '../../loglets/ports.ts'
import { AppendError } from '../../loglets/virtual-log/append-error.ts'
import type { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { encodeBatch, readBatchHeader } from '../../wire/batch.ts'
import { holdingWrites } from '../simulation/held-writes.ts'
import { SimDisk } from '../simulation/sim-disk.ts'

const createTopic: Command = {
  type: 'createTopic',
  topic: 't',
  partitions: 1,
  config: {},
  ifNotExists: false,
}

function produce(value: string): Command {
  const batch = encodeBatch([{ value }], { now: 0 })
  return { type: 'produce', topicId: 1, partition: 0, batch, header: readBatchHeader(batch) }
}

/** Something that is waited for until it is opened. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => {}
  const opened = new Promise<void>(resolve => {
    open = resolve
  })
  return { opened, open: () => open() }
}

const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** What the log does with a try: takes it, refuses it, or answers nothing and takes it once `release` is called. */
type Outcome = 'take' | 'refuse' | 'late'

/** A proposer on a log that does what a plan says, with a state machine that plays it. */
async function proposing(clock: Clock = nodeClock) {
  const machine = new StateMachine(new MemoryStore())
  const plan: Outcome[] = []
  const late: (() => void)[] = []
  const fatal: Error[] = []
  const apply = (entry: ParsedEntry): void => {
    const result = machine.apply(machine.applied, entry)
    if (result.opened !== undefined) proposer.onOpened(result.opened)
    for (const applied of result.applied) proposer.onApplied(applied)
  }
  const sent: { readonly entry: ParsedEntry }[] = []
  const disk = {
    /** What happens when the plan is at its end. */
    otherwise: 'take' as Outcome,
    /** How many tries there were, and how many of them were refused. */
    tried: 0,
    refused: 0,
    /** How long a refusal takes. */
    refusing: (): Promise<void> => nodeClock.sleep(10),
  }
  const log = {
    append: async () => {
      const outcome = plan.shift() ?? disk.otherwise
      disk.tried++
      if (outcome === 'refuse') {
        disk.refused++
        await disk.refusing()
        throw new AppendError(0, new LogletRefusedError('no-space', 'full'))
      }
      if (outcome === 'late') {
        late.push(() => apply(sent.at(-1)?.entry as ParsedEntry))
        throw new AppendError(0, new LogletUnavailableError('no answer'))
      }
      return { lsn: machine.applied, segmentIndex: 0 }
    },
  } as unknown as VirtualLog
  const proposer: Proposer = new Proposer({
    log,
    clock,
    defer: fn => setImmediate(fn),
    node: 'n',
    incarnation: 'i',
    appendsInFlightMax: 8,
    entryBytesMax: 1 << 20,
    backlogBytesMax: 1 << 26,
    stamp: () => 0,
    onCommitted: (_: number, entry: EncodedEntry) => apply(entry.parsed),
    onFatal: error => fatal.push(error),
    onUnavailable: async () => {},
  })
  await proposer.open()
  await proposer.propose(createTopic)
  return { proposer, machine, plan, disk, late, sent, fatal }
}

describe('a proposer', () => {
  it('does not give away the sequence of a try that may still come in', async () => {
    const { proposer, machine, plan, disk, late, sent, fatal } = await proposing()
    // No answer, then refusals until there is space again.
    plan.push('late')
    disk.otherwise = 'refuse'
    const command = produce('A')
    const a = proposer.propose(command)
    const session = proposer.sessionId as number
    sent.push({ entry: encodeEntry({ session, sequence: 1, stamp: 0 }, [command]).parsed })
    while (disk.refused < 2) await nodeClock.sleep(5)
    // What comes meanwhile is refused at once: it has no trace.
    await expect(proposer.propose(produce('B'))).rejects.toMatchObject({ code: 'STORAGE_FULL' })
    for (const release of late) release()
    disk.otherwise = 'take'
    expect(await a).toMatchObject({ ok: true, offsets: [{ offset: 0 }] })
    // A try that was refused before there was space may still be on its way, and takes with it what comes now.
    const whenThereIsSpace = async (): Promise<unknown> => {
      for (;;)
        try {
          return await proposer.propose(produce('C'))
        } catch (error) {
          expect(error).toMatchObject({ code: 'STORAGE_FULL' })
          await turn()
        }
    }
    expect(await whenThereIsSpace()).toMatchObject({ ok: true, offsets: [{ offset: 1 }] })
    expect(machine.topics.partition(1, 0)?.next).toBe(2)
    expect(fatal).toEqual([])
  })

  it('fills no hole of an older session', async () => {
    const asleep = gate()
    const woken = gate()
    const clock: Clock = Object.create(nodeClock, {
      sleep: {
        value: () => {
          asleep.open()
          return woken.opened
        },
      },
    })
    const { proposer, machine, plan, disk } = await proposing(clock)
    const refused = gate()
    disk.refusing = () => refused.opened
    plan.push('refuse')
    const before = disk.tried
    const a = proposer.propose(produce('A'))
    while (disk.tried === before) await turn()
    const b = proposer.propose(produce('B'))
    while (disk.tried === before + 1) await turn()
    refused.open()
    // A was refused, B is held behind it, the hole is to be filled a little later; and now another broker's expiry of the session is applied.
    await asleep.opened
    const session = machine.sessions.live.get(proposer.sessionId as number)
    if (session === undefined) throw new Error('no session')
    machine.sessions.close(session)
    proposer.onSessionLost()
    await proposer.open()
    woken.open()
    const first = await Promise.all([a, b])
    await turn()
    // What a hole of the older session would be filled with now, has the sequence that is theirs.
    const all = [
      ...first,
      ...(await Promise.all(['C', 'D', 'E'].map(v => proposer.propose(produce(v))))),
    ]
    expect(all.map(decision => decision.ok)).toEqual([true, true, true, true, true])
    expect(machine.topics.partition(1, 0)?.next).toBe(5)
  })
})

/** A state machine that is fed by hand, and what stores it. */
function stored() {
  const store = new MemoryStore()
  const machine = new StateMachine(store)
  const persister = new Persister({
    machine,
    store,
    clock: nodeClock,
    intervalMs: 1000,
    onTrouble: () => {},
  })
  const entries: ParsedEntry[] = []
  const put = (session: number, sequence: number, commands: readonly Command[]) => {
    const { parsed } = encodeEntry({ session, sequence, stamp: 0 }, commands)
    entries.push(parsed)
    return machine.apply(machine.applied, parsed)
  }
  put(-1, 0, [{ type: 'open', node: 'n', incarnation: 'i' }])
  put(0, 0, [createTopic])
  return { store, machine, persister, entries, put }
}

describe('a trim', () => {
  it('sees batches that were held back, however many precede them in their partition', async () => {
    const { machine, persister, put, store } = stored()
    const many = (): Command[] => Array.from({ length: 100 }, () => produce('x'))
    // Sequence 2 went through first: position 2 is held, and position 3 makes both effective.
    put(0, 2, many())
    put(0, 1, many())
    const trimmed: number[] = []
    const log = {
      trimPoint: 0,
      prefixTrim: async (before: number) => trimmed.push(before),
      truncate: async () => {},
      volatileSegments: () => [],
      lostSegments: () => [],
      chain: { segments: [] },
    }
    let sequence = 3
    const operations = new LogOperations({
      log: log as unknown as VirtualLog,
      machine,
      clock: nodeClock,
      disk: passingDisk(),
      store,
      places: new LivePlaces(machine, nodeClock),
      checkpointsDir: 'c',
      persister,
      durableSpec: undefined,
      spreadCheckpoint: async () => {},
      backlogBytes: () => 0,
      propose: async command => put(0, sequence++, [command]).applied[0]?.decisions[0] as never,
      sync: async () => {},
      fresh: async () => {},
      appliedUpTo: async () => {},
      logger: undefined,
    } satisfies LogOperationsOptions)
    await expect(operations.trim(3, false)).rejects.toMatchObject({ code: 'TRIM_BLOCKED' })
    expect(trimmed).toEqual([])
    // With force what is held below stays all the same: its readers come to it after what was given up.
    await operations.trim(3, true)
    const partition = machine.topics.partition(1, 0)
    if (partition === undefined) throw new Error('no partition')
    const live = [...machine.topics.entriesFrom(partition, partition.start)].map(({ lsn }) => lsn)
    expect(Math.min(...live)).toBeGreaterThanOrEqual(trimmed[0] as number)
  })
})

describe('two checkpoints at once', () => {
  it('are each of one position', async () => {
    const { store, machine, persister, entries, put } = stored()
    let sequence = 1
    const some = (count: number): void => {
      for (let i = 0; i < count; i++) put(0, sequence++, [produce('x')])
    }
    some(4000)
    const disk = new SimDisk()
    await disk.mkdir('c')
    const writing = gate()
    const held = gate()
    /** Writes nothing before it is told to. */
    const slow = holdingWrites(disk, () => {
      writing.open()
      return held.opened
    })
    const checkpoint = (): Promise<number> =>
      persister.whileStill(async applied => {
        await writeCheckpoint(slow, 'c', store, applied)
        return applied
      })
    const first = checkpoint()
    await writing.opened
    some(300)
    const second = checkpoint()
    held.open()
    const at = await first
    expect(await second).toBe(at + 300)
    await disk.remove(`c/${String(await second).padStart(16, '0')}.ckpt`)
    const restored = new MemoryStore()
    expect(await restoreCheckpoint(disk, 'c', restored)).toBe(at)
    const rebuilt = new StateMachine(restored)
    for (let i = rebuilt.applied; i < entries.length; i++)
      rebuilt.apply(i, entries[i] as ParsedEntry)
    expect(rebuilt.digest()).toBe(machine.digest())
    expect(rebuilt.topics.partition(1, 0)?.next).toBe(4300)
  })
})

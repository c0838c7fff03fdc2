// Every crash point of a file loglet: a script of eight appends (and a roll, a seal, a trim, a reopening) is stopped before each of its disk
// operations; un-synced operations survive in every subset (many seeded ones when there are more than six), and the last write is torn at
// every sector and in subsets of its sectors. Whatever comes up must be a legal state. The recovery itself is crashed at each of its operations, too.

import { describe, expect, it } from 'vitest'
import { type Loglet, LogletLostError, type Position } from '../../../loglets/contract.ts'
import { FileLogletProvider } from '../../../loglets/file/file-provider.ts'
import type { Clock } from '../../../loglets/ports.ts'
import { type Keep, sectorBytes, SimDisk } from '../../simulation/sim-disk.ts'
import { Rng } from '../../simulation/world.ts'

const id = '000001-abcdef'
const params = { kind: 'file', options: { 'segment.bytes': '4096' } }

/** What the outside knows at some moment of the script. */
interface Knowledge {
  created: boolean
  /** Entries by position, as they were handed in. */
  attempted: Uint8Array[]
  acked: number
  sealAttempted: boolean
  sealed: boolean
  trimAttempted: number
}

interface CrashPoint {
  readonly disk: SimDisk
  readonly known: Knowledge
}

/** Time stands still, so idle work never starts. */
const still: Clock = {
  now: () => 0,
  wall: () => 0,
  sleep: (_ms, signal) =>
    new Promise((_resolve, reject) => {
      signal?.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
    }),
}

function provider(disk: SimDisk): FileLogletProvider {
  return new FileLogletProvider({ disk, root: 'loglets', clock: still })
}

interface Step {
  (loglet: Loglet, known: Knowledge, disk: SimDisk): Promise<Loglet | void>
}

const append =
  (bytes: number): Step =>
  async (loglet, known) => {
    const entry = new Uint8Array(bytes).fill(known.attempted.length + 1)
    known.attempted.push(entry)
    await loglet.append([entry.subarray(0, 10), entry.subarray(10)])
    known.acked = known.attempted.length
  }

/** Two appends of one group. */
const appendTwo: Step = async (loglet, known, disk) => {
  await Promise.all([append(300)(loglet, known, disk), append(700)(loglet, known, disk)])
}

const seal: Step = async (loglet, known) => {
  known.sealAttempted = true
  await loglet.seal()
  known.sealed = true
}

const trim: Step = async (loglet, known) => {
  known.trimAttempted = 4
  await loglet.prefixTrim(4 as Position)
}

const reopen: Step = async (loglet, _known, disk) => {
  await loglet.close()
  return provider(disk).open(id, params)
}

const scripts: Readonly<Record<string, readonly Step[]>> = {
  'eight appends over two files': [
    append(100),
    append(900),
    appendTwo,
    append(1500),
    append(1300),
    append(40),
    append(1),
  ],
  'with a seal': [
    append(600),
    append(600),
    appendTwo,
    append(1500),
    append(1500),
    append(40),
    append(1),
    seal,
  ],
  'with a trim': [
    append(900),
    append(900),
    appendTwo,
    append(1500),
    append(1500),
    trim,
    append(40),
    append(1),
  ],
  'closed and opened in between': [
    append(500),
    reopen,
    appendTwo,
    append(1500),
    append(1500),
    reopen,
    append(40),
    append(1),
    append(7),
  ],
}

/** Runs the script once and keeps a copy of the disk before each of its operations, and one after the last. */
async function crashPoints(steps: readonly Step[]): Promise<CrashPoint[]> {
  const disk = new SimDisk()
  await disk.mkdir('loglets')
  const known: Knowledge = {
    created: false,
    attempted: [],
    acked: 0,
    sealAttempted: false,
    sealed: false,
    trimAttempted: 0,
  }
  const points: CrashPoint[] = []
  const keep = (): void => {
    points.push({ disk: disk.fork(), known: { ...known, attempted: [...known.attempted] } })
  }
  disk.onOperation = keep
  let loglet: Loglet = await provider(disk).create(id, params)
  known.created = true
  for (const step of steps) loglet = (await step(loglet, known, disk)) ?? loglet
  keep()
  disk.onOperation = () => {}
  await loglet.close()
  return points
}

/** All the ways in which this disk may come up after a power cut now. */
function* outcomes(disk: SimDisk, rng: Rng): Generator<SimDisk> {
  const ops = disk.unsynced()
  const cut = (keep: (index: number) => Keep): SimDisk => {
    const copy = disk.fork()
    copy.crash((_op, index) => keep(index))
    return copy
  }
  if (ops.length <= 6)
    for (let bits = 0; bits < 2 ** ops.length; bits++)
      yield cut(i => ((bits >> i) & 1 ? 'all' : 'none'))
  else {
    yield cut(() => 'none')
    yield cut(() => 'all')
    for (let n = 0; n < 64; n++) yield cut(() => (rng.chance(0.5) ? 'all' : 'none'))
  }
  const last = ops.findLastIndex(op => op.kind === 'write')
  if (last < 0) return
  const length = ops[last]?.length ?? 0
  for (let bytes = sectorBytes; bytes < length; bytes += sectorBytes)
    yield cut(i => (i === last ? bytes : 'all'))
  const sectors = Math.ceil(length / sectorBytes)
  const subsets = sectors <= 5 ? 2 ** sectors : 48
  for (let n = 1; n < subsets; n++) {
    const kept = Array.from({ length: sectors }, (_, i) =>
      sectors <= 5 ? ((n >> i) & 1) === 1 : rng.chance(0.5),
    )
    yield cut(i => (i === last ? kept : 'all'))
  }
}

/** Opens what a crash left and compares it with what the outside knows. */
async function check(disk: SimDisk, known: Knowledge): Promise<void> {
  let loglet: Loglet
  try {
    loglet = await provider(disk).open(id, params)
  } catch (error) {
    // A loglet whose creation was never acknowledged may be absent; nothing else may.
    expect(error).toBeInstanceOf(LogletLostError)
    expect(known.created).toBe(false)
    return
  }
  const { tail, sealed } = await loglet.checkTail()
  expect(tail).toBeGreaterThanOrEqual(known.acked)
  expect(tail).toBeLessThanOrEqual(known.attempted.length)
  if (known.sealed) expect(sealed).toBe(true)
  if (!known.sealAttempted) expect(sealed).toBe(false)
  await expectContent(loglet, tail, known)
  if (!sealed) {
    const entry = Uint8Array.of(1, 2, 3)
    expect(await loglet.append([entry])).toBe(tail)
    const [item] = await loglet.readNext(tail, (tail + 1) as Position, 1)
    expect(item).toMatchObject({ kind: 'entry', bytes: entry })
  }
  await loglet.close()
}

async function expectContent(loglet: Loglet, tail: number, known: Knowledge): Promise<void> {
  for (let at = 0; at < tail; ) {
    const items = await loglet.readNext(at as Position, tail as Position, 1 << 20)
    expect(items.length).toBeGreaterThan(0)
    for (const item of items) {
      if (item.kind === 'gap') {
        expect(item.from).toBe(at)
        expect(item.gap).toBe('trimmed')
        expect(item.to).toBeLessThanOrEqual(known.trimAttempted)
        at = item.to
      } else {
        expect(item.position).toBe(at)
        expect(Buffer.compare(item.bytes, known.attempted[at] as Uint8Array)).toBe(0)
        at++
      }
    }
  }
}

/** Copies of a disk before each operation that opening it does. */
async function recoveryPoints(disk: SimDisk): Promise<SimDisk[]> {
  const points: SimDisk[] = []
  const running = disk.fork()
  running.onOperation = () => points.push(running.fork())
  try {
    const loglet = await provider(running).open(id, params)
    running.onOperation = () => {}
    await loglet.close()
  } catch (error) {
    expect(error).toBeInstanceOf(LogletLostError)
  }
  return points
}

describe('a file loglet recovers to a legal state', () => {
  for (const [name, steps] of Object.entries(scripts))
    it(`at every crash point of ${name}`, async () => {
      const rng = new Rng(7)
      const points = await crashPoints(steps)
      let states = 0
      let recoveries = 0
      for (const { disk, known } of points)
        for (const crashed of outcomes(disk, rng)) {
          states++
          await check(crashed.fork(), known)
          for (const during of await recoveryPoints(crashed)) {
            for (const keep of ['none', 'all'] as const) {
              const again = during.fork()
              again.crash(() => keep)
              recoveries++
              await check(again, known)
            }
          }
        }
      console.log(
        `${name}: ${points.length} crash points, ${states} states, ${recoveries} crashes of a recovery`,
      )
      expect(points.length).toBeGreaterThan(20)
      expect(states).toBeGreaterThan(points.length)
      expect(recoveries).toBeGreaterThan(0)
    })

  for (const [name, steps] of Object.entries(scripts))
    it(`when the process dies at every point of ${name}, goes on, and then the power is cut`, async () => {
      const rng = new Rng(8)
      let states = 0
      for (const { disk, known } of await crashPoints(steps)) {
        // The process alone died: the new one sees everything that was written, synced or not.
        const survivor = disk.fork()
        let loglet: Loglet
        try {
          loglet = await provider(survivor).open(id, params)
        } catch (error) {
          expect(error).toBeInstanceOf(LogletLostError)
          expect(known.created).toBe(false)
          continue
        }
        const { tail, sealed } = await loglet.checkTail()
        const seen: Knowledge = {
          ...known,
          acked: tail,
          attempted: known.attempted.slice(0, tail),
          sealed,
          sealAttempted: sealed,
        }
        const cut = async (): Promise<void> => {
          for (const crashed of outcomes(survivor, rng)) {
            states++
            await check(crashed, seen)
          }
        }
        // What was answered may not be taken back, by a power cut right now or one after more appends.
        await cut()
        if (!sealed)
          for (let n = 0; n < 2; n++) {
            await append(700)(loglet, seen, survivor)
            await cut()
          }
        await loglet.close()
      }
      expect(states).toBeGreaterThan(0)
    })
})

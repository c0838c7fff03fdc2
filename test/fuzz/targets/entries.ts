// Entries of the log and checkpoints of the state (broker/engine/entry.ts, broker/state/checkpoint.ts).
//
// Rules: an entry is refused with ENTRY_FORMAT only; one that is taken can be written again, and reads then as the same; its commands are of the
// types that their bytes say. A checkpoint is whole or is none: it never throws, and never fills a store in part.

import { encodeEntry, parseEntry } from '../../../broker/engine/entry.ts'
import {
  isCheckpoint,
  restoreCheckpoint,
  writeCheckpoint,
} from '../../../broker/state/checkpoint.ts'
import type { Command } from '../../../broker/state/commands.ts'
import { MemoryStore } from '../../../broker/state/memory-store.ts'
import { crc32 } from '../../../wire/crc32.ts'
import { encodeBatch, readBatchHeader } from '../../../wire/batch.ts'
import { SimDisk } from '../../simulation/sim-disk.ts'
import type { FuzzRandom } from '../random.ts'
import { must, refusedWith, type Target } from '../target.ts'
import { generateBatch } from './batches.ts'

const entryFormat = new Set(['ENTRY_FORMAT'])
let turn = 0

export const entries: Target = {
  name: 'entries',
  bytesMax: 8192,
  seeds: () => seedEntries(),
  generate: random =>
    encodeCommands(Array.from({ length: 1 + random.below(4) }, () => commandFrom(random))),
  run: input => {
    let parsed: ReturnType<typeof parseEntry>
    try {
      parsed = parseEntry(input)
    } catch (error) {
      return refusedWith(error, entryFormat)
    }
    for (const { command, batchStarts } of parsed.commands) {
      must(Object.hasOwn(command, 'type'), 'a command has no type of its own')
      const batches =
        'batches' in command
          ? command.batches.length
          : 'moves' in command
            ? command.moves.length
            : command.type === 'produce'
              ? 1
              : 0
      must(
        batchStarts.length === batches,
        `${command.type} has ${batches} batches and ${batchStarts.length} places`,
      )
    }
    if (turn++ % 4 === 0) {
      const commands = parsed.commands.map(({ command }) => command)
      const again = Buffer.concat(encodeEntry(parsed.header, commands).buffers)
      const twice = parseEntry(again)
      const back = Buffer.concat(
        encodeEntry(
          twice.header,
          twice.commands.map(({ command }) => command),
        ).buffers,
      )
      must(Buffer.compare(again, back) === 0, 'written again it reads as something else')
    }
    return true
  },
}

export const checkpoints: Target = {
  name: 'checkpoints',
  bytesMax: 8192,
  seeds: async () => [await checkpoint(0), await checkpoint(1), await checkpoint(40)],
  reseal: (input, random) => {
    if (input.length < 24 || random.oneIn(4)) return
    const view = new DataView(input.buffer, input.byteOffset, input.length)
    view.setUint32(input.length - 8, 0)
    view.setUint32(input.length - 4, crc32(input.subarray(0, input.length - 8)))
  },
  run: async input => {
    const disk = new SimDisk()
    await disk.mkdir('c')
    await write(disk, `c/${String(7).padStart(16, '0')}.ckpt`, input)
    const isWhole = await isCheckpoint(disk, `c/${String(7).padStart(16, '0')}.ckpt`, 7)
    const store = new MemoryStore()
    const applied = await restoreCheckpoint(disk, 'c', store)
    must(!isWhole || applied === 7, 'a whole checkpoint is not restored')
    must(
      applied !== undefined ||
        store.range({ low: new Uint8Array(0), high: new Uint8Array(64).fill(255), limit: 1 })
          .length === 0,
      'a checkpoint that is none filled the store',
    )
    return applied !== undefined
  },
}

async function write(disk: SimDisk, path: string, bytes: Uint8Array): Promise<void> {
  const file = await disk.open(path, { create: true })
  await file.write([bytes.slice()], 0)
  await file.datasync()
  await file.close()
}

async function checkpoint(pairs: number): Promise<Uint8Array> {
  const store = new MemoryStore()
  await store.commit(
    Array.from({ length: pairs }, (_, i) => ({
      type: 'put' as const,
      key: Uint8Array.of(1, i),
      value: new Uint8Array(i * 3).fill(i),
    })),
  )
  const disk = new SimDisk()
  await writeCheckpoint(disk, 'c', store, 7)
  return disk.content(`c/${String(7).padStart(16, '0')}.ckpt`).slice()
}

function encodeCommands(commands: readonly Command[]): Uint8Array {
  const { buffers } = encodeEntry({ session: 3, sequence: 4, stamp: 1_700_000_000_000 }, commands)
  return Uint8Array.from(Buffer.concat(buffers))
}

function batchOf(bytes: Uint8Array): {
  topicId: number
  partition: number
  batch: Uint8Array
  header: ReturnType<typeof readBatchHeader>
} {
  return { topicId: 1, partition: 2, batch: bytes, header: readBatchHeader(bytes) }
}

function seedEntries(): Uint8Array[] {
  const small = batchOf(encodeBatch([{ value: 'v' }], { now: 1 }))
  const commit = { group: 'g', memberId: 'm', generation: 1, offsets: [] } as unknown
  const commands = [
    { type: 'produce', ...small },
    { type: 'produce', ...small, expect: 5, partitions: 3 },
    { type: 'publish', batches: [small, small], expect: [{ topicId: 1, partition: 0, offset: 9 }] },
    {
      type: 'publish',
      producer: { id: 1, epoch: 2, sequence: 3 },
      batches: [small],
      expect: [],
      commit,
    },
    { type: 'publish', batches: [small], expect: [], maps: [[1, 3]], commit },
    { type: 'relocate', moves: [{ ...small, base: 4, lsn: 5, start: 40 }] },
    { type: 'createTopic', name: 't', partitions: 3, config: {} },
    { type: 'open', node: 'n', incarnation: 'i' },
    { type: 'stamp' },
    { type: 'void' },
  ] as unknown as Command[]
  return [
    ...commands.map(command => encodeCommands([command])),
    encodeCommands(commands),
    encodeCommands([]),
  ]
}

function commandFrom(random: FuzzRandom): Command {
  let bytes: Uint8Array
  do bytes = generateBatch(random).slice()
  while (!isBatch(bytes))
  const one = batchOf(bytes)
  switch (random.below(4)) {
    case 0:
      return {
        type: 'produce',
        ...one,
        ...(random.oneIn(2) ? { expect: random.size(2 ** 31) } : {}),
      }
    case 1:
      return {
        type: 'publish',
        batches: Array.from({ length: random.below(4) }, () => one),
        expect: Array.from({ length: random.below(3) }, () => ({
          topicId: random.u32(),
          partition: 0,
          offset: random.u32(),
        })),
        ...(random.oneIn(2)
          ? { producer: { id: random.u32(), epoch: 1, sequence: random.size(1000) } }
          : {}),
      }
    case 2:
      return {
        type: 'relocate',
        moves: [
          {
            topicId: 1,
            partition: 0,
            base: random.u32(),
            lsn: random.u32(),
            start: 40,
            batch: one.batch,
          },
        ],
      }
    default:
      return {
        type: 'createTopic',
        name: 'x'.repeat(random.below(40)),
        partitions: random.size(100),
        config: {},
      } as unknown as Command
  }
}

function isBatch(bytes: Uint8Array): boolean {
  try {
    readBatchHeader(bytes)
    return true
  } catch {
    return false
  }
}

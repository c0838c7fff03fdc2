// Short forms of the acceptance programs, on real processes. The long forms are run by hand: see each program's usage line.

import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { addPartitions, faultsOf } from './add-partitions.ts'
import { memoryUnderLoad, restartTime } from './bounded.ts'
import { canMount } from './can-mount.ts'
import { diskFull } from './disk-full.ts'
import { fsyncOrder, syncError } from './fsync-order.ts'
import { groupsLoad } from './groups-load.ts'
import { killNine } from './kill-nine.ts'
import { queueChaos } from './queue-chaos.ts'
import { realInput } from './real-input.ts'
import { plot, retentionLoad } from './retention-load.ts'

const straceWorks = spawnSync('strace', ['-V']).status === 0
if (!straceWorks && process.env.CI === 'true')
  throw new Error('CI must have strace: apt-get install strace')

describe('the main job on real records', () => {
  it('loses, repeats and reorders nothing while the log is switched', async () => {
    const report = await realInput(3, 6)
    expect(report).toMatchObject({
      consumed: 60_000,
      lost: 0,
      duplicate: 0,
      outOfOrder: 0,
      errors: [],
      exitCodes: { create: 0, produce: 0, consume: 0, broker: 0 },
    })
    expect(report.switchesWhileProducing).toBeGreaterThanOrEqual(4)
  })
})

describe('retention under load', () => {
  it('keeps the disk below what went through, and every record that is to stay', async () => {
    const bytes = 120e6
    const load = { bytes, boundBytes: bytes / 2, bytesPerSecond: bytes / 10, phaseMs: 5000 }
    const report = await retentionLoad(load)
    expect(report.readRecords).toBe(report.keptRecords)
    expect(report.keptRecords).toBeGreaterThan(1000)
    expect(report.relocatedBytes).toBeGreaterThan(0)
    expect(report.diskMaxBytes).toBeLessThan(0.8 * bytes)
    expect(plot(report)).toContain('polyline')
  })
})

describe('many groups and readers', () => {
  it('keep every committed offset, and leave nothing behind', async () => {
    const load = { groups: 30, members: 10, partitions: 20, seconds: 1, readers: 200 }
    const report = await groupsLoad(load)
    expect(report.faults).toEqual([])
    expect(report.commits.perSecond).toBeGreaterThan(0)
  })
})

describe('partitions that are added under load', () => {
  it('leave the records of each key in order for every consumer, over three processes', async () => {
    const report = await addPartitions({ seconds: 8, rate: 1500 })
    expect(faultsOf(report)).toEqual([])
    expect(report.produced).toBeGreaterThan(5000)
    expect(report.inAddedShare).toBeGreaterThan(0.5)
  })
})

describe('a queue whose workers and nodes are killed', () => {
  it('answers each record once, or gives it up once', async () => {
    const report = await queueChaos(8)
    expect(report).toMatchObject({ lost: 0, duplicate: 0, impossible: 0 })
    expect(report.produced).toBeGreaterThan(300)
    expect(report.dead).toBeGreaterThan(0)
    expect(report.workerKills).toBeGreaterThan(1)
    expect(report.nodeKills).toBeGreaterThan(0)
  })
})

describe('kill -9', () => {
  it('keeps every acked record once and in order', async () => {
    const report = await killNine(4)
    expect(report).toMatchObject({
      lost: 0,
      duplicate: 0,
      outOfOrder: 0,
      phantom: 0,
      failedSends: 0,
    })
    expect(report.acked).toBeGreaterThan(0)
    expect(report.acked).toBe(report.attempted)
  })
})

describe.skipIf(!straceWorks)('fsync before ack (needs strace)', () => {
  it.each(['file', 'striped:2:file'])(
    'on %s no reply leaves before its fdatasync returned',
    async loglet => {
      const report = await fsyncOrder(50, loglet)
      expect(report.violations).toEqual([])
      expect(report.covered).toBe(50)
    },
  )

  it('stops with exit code 1 after EIO, acks nothing more and keeps what was acked', async () => {
    const report = await syncError(30)
    expect(report.exitCode).toBe(1)
    expect(report.ackedBefore).toBeGreaterThan(0)
    expect(report.missing).toBe(0)
  })
})

describe.skipIf(!canMount)('a full disk (needs root, to mount a small tmpfs)', () => {
  it.each(['file', 'striped:2:file'])(
    'on %s refuses with STORAGE_FULL, loses nothing and goes on when space is back',
    async loglet => {
      const report = await diskFull(loglet)
      expect(report).toMatchObject({
        codes: ['STORAGE_FULL'],
        // There never is much room on so small a disk.
        statuses: ['unavailable', 'degraded'],
        lost: 0,
        traces: 0,
        ackedAfter: 20,
        exitCode: 0,
      })
      expect(report.readableWhileFull).toBe(report.ackedBefore)
    },
  )
})

describe.skipIf(!canMount)(
  'a full disk below the state store (needs root, to mount a small tmpfs)',
  () => {
    it('does not end the process: the store is written again when space is back', async () => {
      // So many commits that some of them meet the full disk.
      const report = await diskFull('file', ['--state-commit-interval-ms', '5'])
      expect(report).toMatchObject({ lost: 0, traces: 0, ackedAfter: 20, exitCode: 0 })
    })
  },
)

describe('bounds', () => {
  it('memory stays bounded while more than the caches hold goes through many topics', async () => {
    const report = await memoryUnderLoad(0.3, 100, 4)
    expect(report.gigabytes).toBeGreaterThanOrEqual(0.3)
    expect(report.rssAnonMaxMb).toBeLessThan(400)
  })

  it('starts again with many batches in the log', async () => {
    const report = await restartTime(20_000)
    expect(report.afterKillMs).toBeGreaterThan(0)
  })
})

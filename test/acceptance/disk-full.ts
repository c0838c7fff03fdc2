// A full disk, on a small tmpfs (needs root): appends are refused with a coded error and leave no trace, reads go on, nothing acked is
// lost, and appends work again once space is free, without a restart.

import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  encodeBatch,
  decodeBatch,
  type Frame,
  LogloomError,
  openSocket,
  RequestChannel,
} from '../../wire/index.ts'
import { startBrokerProcess, withDirectory } from './broker-process.ts'

export interface DiskFullReport {
  readonly ackedBefore: number
  /** Codes of the refusals while the disk was full. */
  readonly codes: readonly string[]
  readonly readableWhileFull: number
  /** Of `GET /health`: while the disk was full, and once appends worked again. */
  readonly statuses: readonly [string, string]
  readonly ackedAfter: number
  readonly lost: number
  /** Records that were refused and are there all the same. */
  readonly traces: number
  readonly exitCode: number | string
}

export function diskFull(loglet: string, args: readonly string[] = []): Promise<DiskFullReport> {
  return withDirectory(async directory => {
    const mount = join(directory, 'small')
    await mkdir(mount)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=48m', 'tmpfs', mount])
    try {
      return await run(mount, loglet, args)
    } finally {
      execFileSync('umount', ['-l', mount])
    }
  })
}

async function run(
  mount: string,
  loglet: string,
  args: readonly string[],
): Promise<DiskFullReport> {
  const ballast = join(mount, 'ballast')
  writeFileSync(ballast, Buffer.alloc(16 << 20))
  const data = join(mount, 'data')
  const broker = await startBrokerProcess({ data, args: ['--loglet', loglet, ...args] })
  const channel = await open(broker.url)
  await channel.request('createTopic', { topic: 'full' })
  const acked = new Set<string>()
  const refused = new Set<string>()
  const codes = new Set<string>()
  let n = 0
  const produce = async (): Promise<boolean> => {
    const value = `${n++}:`.padEnd(100_000, 'x')
    const batch = encodeBatch([{ value }], { now: Date.now() })
    try {
      await channel.request('produce', { topic: 'full', partition: 0, batch })
      acked.add(value.split(':')[0] as string)
      return true
    } catch (error) {
      codes.add(error instanceof LogloomError ? error.code : String(error))
      refused.add(value.split(':')[0] as string)
      return false
    }
  }
  for (let i = 0; codes.size === 0 && i < 250; i++)
    await Promise.all(Array.from({ length: 8 }, produce))
  for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: 8 }, produce))
  const ackedBefore = acked.size
  const readableWhileFull = (await readAll(channel)).length
  const whileFull = await statusOf(broker.url)
  rmSync(ballast)
  const deadline = Date.now() + 20_000
  let ackedAfter = 0
  while (ackedAfter < 20 && Date.now() < deadline) if (await produce()) ackedAfter++
  const afterwards = await statusOf(broker.url)
  channel.close()
  const exitCode = await broker.kill('SIGTERM')
  const again = await startBrokerProcess({ data })
  const reader = await open(again.url)
  const values = await readAll(reader)
  reader.close()
  await again.kill('SIGTERM')
  const found = new Set(values)
  return {
    ackedBefore,
    codes: [...codes],
    readableWhileFull,
    statuses: [whileFull, afterwards],
    ackedAfter,
    lost: [...acked].filter(v => !found.has(v)).length,
    traces: [...refused].filter(v => found.has(v)).length,
    exitCode,
  }
}

async function statusOf(url: string): Promise<string> {
  const reply = await fetch(`${url.replace('ws', 'http')}/health`)
  const { status } = (await reply.json()) as { status: string }
  return status
}

async function open(url: string): Promise<RequestChannel> {
  const channel = new RequestChannel(await openSocket(url))
  await channel.request('hello', { protocol: 1, client: 'disk-full' })
  return channel
}

async function readAll(channel: RequestChannel): Promise<string[]> {
  const values: string[] = []
  for (let from = 0; ; ) {
    const reply = await channel.request('fetch', {
      topic: 'full',
      partition: 0,
      from,
      maxWaitMs: 0,
    })
    for (const item of reply.items as Frame[])
      for (const record of await decodeBatch(item.batch as Uint8Array))
        values.push(new TextDecoder().decode(record.value ?? undefined).split(':')[0] as string)
    from = reply.next as number
    if (from >= (reply.end as number)) return values
  }
}

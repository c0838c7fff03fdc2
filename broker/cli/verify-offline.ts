// `logloom log verify --data DIR`: reads the whole log of a stopped broker.
//
// Guarantees: no broker runs on the directory meanwhile, because its lock is held; a directory without a log is refused, not made into
// one. What opening would repair, a torn tail for example, is repaired in memory only: no file of the log changes. It does not look at the state.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { VerifyResult } from '../log-operations.ts'
import { lsn } from '../../loglets/contract.ts'
import { FileLogletProvider } from '../../loglets/file/file-provider.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { FileMetaStore } from '../../loglets/metastore/file.ts'
import { nodeClock, nodeRandom } from '../../loglets/node-clock.ts'
import { nodeDisk } from '../../loglets/node-disk.ts'
import { overlayDisk } from '../../loglets/overlay-disk.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { VirtualLog } from '../../loglets/virtual-log/virtual-log.ts'
import { LogloomError } from '../../wire/errors.ts'
import { openDataDirectory } from '../data-directory.ts'

const readBytes = 4 << 20
const memoryBytesMax = 1 << 20

/** Verifies a data directory. @throws INVALID_REQUEST when it holds no log, DATA_DIR_LOCKED, DATA_DIR_NEWER */
export async function verifyOffline(data: string): Promise<VerifyResult> {
  if (!existsSync(join(data, 'VERSION')) || !existsSync(join(data, 'metastore'))) {
    const hint = 'name the directory that was given to `logloom start --data`'
    throw new LogloomError('INVALID_REQUEST', `${data} holds no log`, {}, { hint })
  }
  const directory = openDataDirectory(data)
  try {
    const log = await openLog(directory.path)
    try {
      return await readAll(log)
    } finally {
      await log.close()
    }
  } finally {
    directory.release()
  }
}

async function openLog(path: string): Promise<VirtualLog> {
  const disk = overlayDisk(nodeDisk(path))
  const metaStore = new FileMetaStore({ disk, dir: 'metastore' })
  const { value } = await metaStore.read()
  if (value === undefined) throw new LogloomError('INVALID_REQUEST', `${path} holds no log`)
  const onFatal = (error: Error): never => {
    throw error
  }
  const file = new FileLogletProvider({ disk, root: 'loglets', clock: nodeClock, onFatal })
  return VirtualLog.open({
    metaStore,
    registry: new LogletRegistry([file, new MemoryLogletProvider({ bytesMax: memoryBytesMax })]),
    clock: nodeClock,
    random: nodeRandom,
    initialSpec: 'file',
  })
}

async function readAll(log: VirtualLog): Promise<VerifyResult> {
  const end = await log.checkTail()
  const damaged: VerifyResult['damaged'][number][] = []
  let entries = 0
  let bytes = 0
  for (let at: number = log.trimPoint; at < end; ) {
    const before = at
    for (const item of await log.readNext(lsn(at), end, readBytes)) {
      if (item.kind === 'entry') {
        entries++
        bytes += item.bytes.length
        at = item.lsn + 1
        continue
      }
      if (item.gap === 'lost') {
        const detail = 'the loglet cannot read these positions'
        damaged.push({ from: item.from, to: item.to, kind: item.gap, detail })
      }
      at = item.to
    }
    if (at === before) throw new LogloomError('INTERNAL', `position ${at} cannot be read`)
  }
  return { ok: damaged.length === 0, entries, bytes, damaged }
}

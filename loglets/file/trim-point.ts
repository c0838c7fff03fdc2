// The trim point of a file loglet: one small file, replaced atomically. 0 u64 position, 8 u32 CRC-32 of [0, 8).

import { crc32 } from '../../wire/crc32.ts'
import { getU64, setU64 } from '../../wire/u64.ts'
import type { Disk } from '../ports.ts'

const name = 'trim'

/** Makes the trim point durable. */
export async function writeTrimPoint(
  disk: Disk,
  directory: string,
  position: number,
): Promise<void> {
  const bytes = new Uint8Array(12)
  const view = new DataView(bytes.buffer)
  setU64(view, 0, position)
  view.setUint32(8, crc32(bytes.subarray(0, 8)))
  const temporary = `${directory}/${name}.tmp`
  await disk.remove(temporary)
  const file = await disk.open(temporary, { create: true })
  try {
    await file.write([bytes], 0)
    await file.datasync()
  } finally {
    await file.close()
  }
  await disk.rename(temporary, `${directory}/${name}`)
  await disk.syncDir(directory)
}

/** 0 when nothing was trimmed, or when the file is damaged: what is gone then shows as lost. */
export async function readTrimPoint(disk: Disk, directory: string): Promise<number> {
  const path = `${directory}/${name}`
  if (!(await disk.exists(path))) return 0
  const file = await disk.open(path)
  try {
    const bytes = await file.read(0, 12)
    if (bytes.length < 12) return 0
    const view = new DataView(bytes.buffer, bytes.byteOffset, 12)
    if (view.getUint32(8) !== crc32(bytes.subarray(0, 8))) return 0
    return getU64(view, 0)
  } finally {
    await file.close()
  }
}

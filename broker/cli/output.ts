// Bytes to a file descriptor, with back-pressure and without blocking the event loop.
//
// Guarantees: bytes arrive in order and whole; a reader that went away is told as a BrokenPipe, not as a crash. process.stdout is not
// used for data: on pipes it writes synchronously, and while a slow reader holds it no ping would be answered. Not for concurrent use.

import { write, writeSync } from 'node:fs'
import { printableJson } from './printable.ts'

/** Whoever read our output is gone: the command ends with exit code 0. */
export class BrokenPipe extends Error {
  override readonly name = 'BrokenPipe'
}

const retryMs = 5

/** Writes all bytes. @throws BrokenPipe, or the system's error */
export async function writeBytes(fd: number, bytes: Uint8Array): Promise<void> {
  let from = 0
  while (from < bytes.length) from += await writeSome(fd, bytes, from)
}

/** Writes a text to stdout. */
export function writeText(text: string): Promise<void> {
  return writeBytes(1, Buffer.from(text))
}

/** Writes one JSON object and a newline to stdout. */
export function writeJson(value: unknown): Promise<void> {
  return writeText(`${printableJson(value)}\n`)
}

/** Writes a short text to stderr at once; a closed stderr is nobody's business. */
export function note(text: string): void {
  try {
    writeSync(2, text)
  } catch {
    // Nowhere to report that.
  }
}

/** Writes a short text to stdout at once. @throws BrokenPipe, or the system's error */
export function print(text: string): void {
  try {
    writeSync(1, text)
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'EPIPE' ? new BrokenPipe() : error
  }
}

function writeSome(fd: number, bytes: Uint8Array, from: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, from, bytes.length - from, null, (error, written) => {
      if (!error) resolve(written)
      else if (error.code === 'EPIPE') reject(new BrokenPipe())
      // Somebody who shares the pipe made it non-blocking.
      else if (error.code === 'EAGAIN') setTimeout(() => resolve(0), retryMs)
      else reject(error)
    })
  })
}

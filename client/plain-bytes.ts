// What callers get as bytes.

/** Node's sockets and zlib give Buffers, whose `slice` does not copy: callers get plain byte arrays everywhere. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  if (bytes.constructor === Uint8Array) return bytes
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

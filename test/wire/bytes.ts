// Bytes by hand: what a peer in another language, or an attacker, may send.

/** Hex text, spaces allowed. */
export function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
}

export function join(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap(part => [...part]))
}

/** A one-pair map `{ a: … }` around the bytes of a value. */
export function frameOf(...value: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return join([0x81, 0xa1, 0x61], ...value)
}

/** The LogloomError code, or the error itself when it is none of ours. */
export function codeOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return codeOfError(error)
  }
  return undefined
}

export function codeOfError(error: unknown): unknown {
  return (error as { name?: string }).name === 'LogloomError'
    ? (error as { code: string }).code
    : error
}

// The text form of a consumed record: kcat's verbs, compiled once into a list of writers.
//
//   %t topic   %p partition   %o offset   %k key   %v, %s value   %h headers a=b,c=d   %T timestamp ms   %K %S length of key, value
//
// Guarantees: key and value are written byte for byte; a null is written as nothing and has the length -1, as in kcat.

import { UsageError } from './exit-codes.ts'
import type { ByteSink } from './byte-sink.ts'

/** What a format can show. */
export interface FormattableRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly (readonly [string, Uint8Array])[]
}

export type RecordWriter = (record: FormattableRecord, sink: ByteSink) => void

const verbs: Readonly<Record<string, RecordWriter>> = {
  t: (record, sink) => sink.text(record.topic),
  p: (record, sink) => sink.text(String(record.partition)),
  o: (record, sink) => sink.text(String(record.offset)),
  k: (record, sink) => record.key && sink.bytes(record.key),
  v: (record, sink) => record.value && sink.bytes(record.value),
  s: (record, sink) => record.value && sink.bytes(record.value),
  h: (record, sink) => {
    for (const [i, [name, value]] of record.headers.entries()) {
      sink.text(i === 0 ? `${name}=` : `,${name}=`)
      sink.bytes(value)
    }
  },
  T: (record, sink) => sink.text(String(record.timestamp)),
  K: (record, sink) => sink.text(String(record.key?.length ?? -1)),
  S: (record, sink) => sink.text(String(record.value?.length ?? -1)),
}

const escapes: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  '0': '\0',
  '\\': '\\',
}

/** Compiles a format. @throws UsageError for an unknown verb or escape */
export function compileFormat(format: string): RecordWriter {
  const writers: RecordWriter[] = []
  let literal: number[] = []
  const flush = (): void => {
    if (literal.length === 0) return
    const bytes = Uint8Array.from(literal)
    writers.push((_, sink) => sink.bytes(bytes))
    literal = []
  }
  const push = (text: string): void => {
    // One by one: a format may be longer than what one call takes.
    for (const byte of Buffer.from(text)) literal.push(byte)
  }
  for (const token of format.match(/%.?|\\x[0-9a-fA-F]{2}|\\.?|[^%\\]+/gsu) ?? []) {
    if (token.startsWith('%') && token !== '%%') {
      const writer = verbs[token.slice(1)]
      if (!writer) throw unknown('verb', token, `%${Object.keys(verbs).join(' %')} %%`)
      flush()
      writers.push(writer)
    } else if (token.startsWith('\\x')) {
      literal.push(Number.parseInt(token.slice(2), 16))
    } else if (token.startsWith('\\')) {
      const text = escapes[token.slice(1)]
      if (text === undefined) throw unknown('escape', token, String.raw`\n \r \t \0 \\ \xNN`)
      push(text)
    } else {
      push(token === '%%' ? '%' : token)
    }
  }
  flush()
  return (record, sink) => {
    for (const write of writers) write(record, sink)
  }
}

function unknown(what: string, token: string, known: string): UsageError {
  return new UsageError(`unknown ${what} ${JSON.stringify(token)} in -f`, `known are ${known}`)
}

// The numbers of the log as types, and the compact text that names a reader's position.
//
// An offset counts records of one partition, an LSN the entries of the shared log; the brands keep them apart. A resume token holds
// the next offset of every partition that a reader covers: `lr1~orders:0=2s,1=a;audit:0=7`, numbers in base 36.

import { LogloomError } from '../wire/index.ts'

declare const offsetBrand: unique symbol
declare const lsnBrand: unique symbol

/** Number of a record in its partition; a safe integer ≥ 0 (−1 when `acks` is 0 and nobody knows). */
export type Offset = number & { readonly [offsetBrand]: true }

/** Position in the shared log; a safe integer ≥ 0 (−1 when `acks` is 0). */
export type Lsn = number & { readonly [lsnBrand]: true }

/** One partition's place in a token: `next` is the first offset not yet handed out. */
export interface Position {
  readonly topic: string
  readonly partition: number
  readonly next: number
}

const prefix = 'lr1~'

/** True when the text looks like a token of {@link formatResumeToken}. */
export function isResumeToken(text: string): boolean {
  return text.startsWith(prefix)
}

/** Writes positions as a token; partitions of one topic must stand together. */
export function formatResumeToken(positions: Iterable<Position>): string {
  let token = prefix
  let topic: string | undefined
  for (const position of positions) {
    if (position.topic === topic) token += ','
    else {
      if (topic !== undefined) token += ';'
      topic = position.topic
      token += `${topic}:`
    }
    token += `${position.partition.toString(36)}=${position.next.toString(36)}`
  }
  return token
}

/** Reads a token back. @throws INVALID_REQUEST when it is not one. */
export function parseResumeToken(token: string): readonly Position[] {
  const positions: Position[] = []
  if (!isResumeToken(token)) throw badToken(token)
  const body = token.slice(prefix.length)
  if (body === '') return positions
  for (const group of body.split(';')) {
    const [topic, list, rest] = group.split(':')
    if (!topic || !list || rest !== undefined) throw badToken(token)
    for (const pair of list.split(',')) {
      const match = /^([0-9a-z]+)=([0-9a-z]+)$/.exec(pair)
      if (!match) throw badToken(token)
      const partition = Number.parseInt(match[1] ?? '', 36)
      const next = Number.parseInt(match[2] ?? '', 36)
      if (!Number.isSafeInteger(partition) || !Number.isSafeInteger(next)) throw badToken(token)
      positions.push({ topic, partition, next })
    }
  }
  return positions
}

function badToken(token: string): LogloomError {
  return new LogloomError('INVALID_REQUEST', `not a resume token: ${JSON.stringify(token)}`)
}

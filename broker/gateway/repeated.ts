// Answers that a producer's command lane gives again (protocol.md 5).
//
// A lane remembers sequences and answers, not what was asked. A client that gives one sequence to two requests would hear that the second was
// done too, which it was not: an answer of another kind, or about records at other places, is refused instead.

import { LogloomError } from '../../wire/errors.ts'
import type { Frame } from '../../wire/frame.ts'
import type { Answer } from '../engine/proposer.ts'
import type { PartitionOffset } from '../state/commands.ts'

type Accepted = Answer & { readonly ok: true }

/** What the answer to a command looks like. */
export interface AnswerShape {
  /** Values that tell what it is about. */
  readonly about?: Readonly<Record<string, unknown>>
  /** Names of the other values. */
  readonly names?: readonly string[]
  readonly optional?: readonly string[]
}

/** The values of the reply. @throws INVALID_REQUEST for the answer to another request */
export function resultOf(
  { duplicate, offsets, result = {} }: Accepted,
  { about = {}, names = [], optional = [] }: AnswerShape = {},
): Frame {
  const known = [...Object.keys(about), ...names, ...optional]
  const isOwn =
    offsets === undefined &&
    Object.entries(about).every(([name, value]) => result[name] === value) &&
    names.every(name => Object.hasOwn(result, name)) &&
    Object.keys(result).every(name => known.includes(name))
  if (duplicate === true && !isOwn) throw usedBefore()
  return { ...result }
}

/**
 * Where the batches of a publish begin. A retry of plain records may have been given other partitions than those that were written to:
 * with `chosenHere` it is told where its records lie.
 * @throws INVALID_REQUEST for the answer to another request
 */
export function offsetsOf(
  decision: Accepted,
  partitions: readonly number[],
  chosenHere: boolean,
): readonly PartitionOffset[] {
  const { duplicate, offsets = [], result } = decision
  if (duplicate !== true) return offsets
  const isForeign =
    result !== undefined ||
    offsets.length !== partitions.length ||
    (!chosenHere && offsets.some(({ partition }, i) => partition !== partitions[i]))
  if (isForeign) throw usedBefore()
  return offsets
}

function usedBefore(): LogloomError {
  return new LogloomError(
    'INVALID_REQUEST',
    'field producer: its sequence was another request’s, which was decided: that one stands, and of this one nothing was done',
    { field: 'producer', decided: true },
    {
      hint: 'give every request of a producer the next sequence, and the same one to its retries only',
    },
  )
}

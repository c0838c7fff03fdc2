// Lanes of producers on one connection of which a batch was refused for lack of room: what follows it in the pipeline cannot be taken
// (OUT_OF_ORDER_SEQUENCE), and is refused before it costs the log anything (DESIGN 5.3: the gateway refuses the rest of that pipeline).

import { readBatchHeader } from '../../../wire/batch.ts'
import type { Frame } from '../../../wire/frame.ts'

/** Lanes remembered; those beyond find out from the log. */
const lanesMax = 1000
const sequenceModulus = 2 ** 31

interface Place {
  readonly lane: string
  readonly sequence: number
}

export class ShedLanes {
  /** The first sequence that was refused. */
  private readonly refused = new Map<string, number>()

  /** Something was refused. */
  note(frame: Frame): void {
    const place = placeOf(frame)
    if (place === undefined || this.refused.has(place.lane)) return
    if (this.refused.size < lanesMax) this.refused.set(place.lane, place.sequence)
  }

  /** The sequence that has to come first, if this one follows a refused one. What was refused itself may try again. */
  missing(frame: Frame): number | undefined {
    if (this.refused.size === 0) return undefined
    const place = placeOf(frame)
    const first = place === undefined ? undefined : this.refused.get(place.lane)
    if (place === undefined || first === undefined) return undefined
    const ahead = (place.sequence - first + sequenceModulus) % sequenceModulus
    if (ahead > 0 && ahead < sequenceModulus / 2) return first
    if (ahead === 0) this.refused.delete(place.lane)
    return undefined
  }
}

/** Of a produce with an identity. */
function placeOf({ op, topic, partition, batch }: Frame): Place | undefined {
  if (op !== 'produce' || !(batch instanceof Uint8Array)) return undefined
  try {
    const { producerId, producerEpoch, baseSequence } = readBatchHeader(batch)
    if (producerId === 0) return undefined
    const lane = `${producerId}/${producerEpoch}/${String(topic)}/${String(partition)}`
    return { lane, sequence: baseSequence }
  } catch {
    // Its own refusal comes from whoever checks it.
    return undefined
  }
}

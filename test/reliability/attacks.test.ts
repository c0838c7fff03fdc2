// An attack whose requests are to be answered fails when one is not, whatever else comes back.

import { expect, it } from 'vitest'
import { type Frame, packFrame, unpackFrame } from '../../wire/index.ts'
import { openLoopback } from '../wire/loopback.ts'
import { attacks } from './attacks.ts'

const attack = attacks.find(({ name }) => name.startsWith('batches of 48 MiB'))
/** One reply for each of the four writes, in order. */
type Codes = readonly (string | readonly string[])[]

/** Whether the attack says that a server did well that answers the writes with errors of these codes, and then hangs up. */
async function isFine(codes: Codes): Promise<boolean | undefined> {
  const loopback = await openLoopback({
    onSocket: socket => {
      socket.onMessage = bytes => {
        const { op, id } = unpackFrame(bytes)
        const answer = (fields: Frame): void => socket.send(packFrame({ id, ...fields }))
        if (op !== 'produce') return answer({})
        const nth = Number(id) - 3
        const message = 'THROTTLED BATCH_CORRUPT, it says'
        for (const code of [codes[nth] ?? []].flat()) answer({ error: { code, message } })
        if (nth === codes.length - 1) socket.close()
      }
    },
  })
  try {
    return await attack?.run(Number(new URL(loopback.url).port))
  } finally {
    await loopback.close()
  }
}

const refused = 'BATCH_CORRUPT'
const shed = 'THROTTLED'

it.each<[string, Codes, boolean]>([
  ['each is refused', [refused, refused, refused, refused], true],
  ['some are shed', [shed, refused, shed, shed], true],
  ['all are shed, and none looked into', [shed, shed, shed, shed], false],
  ['one is not answered', [refused, [], shed, shed], false],
  ['one is answered twice, and another not', [refused, [shed, shed], [], refused], false],
  ['one is answered twice', [refused, [shed, shed], shed, refused], false],
  ['one is refused for another reason', [refused, refused, 'INTERNAL', refused], false],
])('a write of which %s', async (_name, codes, fine) => {
  expect(await isFine(codes)).toBe(fine)
})

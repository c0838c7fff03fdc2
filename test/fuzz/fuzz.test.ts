// Short forms of the fuzzers, the kept inputs again, and the fuzzer itself: it has to find what is planted. Long forms: test/fuzz/run.ts.

import { describe, expect, it } from 'vitest'
import { LogloomError } from '../../wire/errors.ts'
import { keptInputs } from './corpus.ts'
import { fuzz, tryInput } from './fuzz.ts'
import { refusedWith, type Target } from './target.ts'
import { targets } from './targets/index.ts'

describe.each(targets.map(target => [target.name, target] as const))('%s', (name, target) => {
  it('takes or refuses every kept input, and is not harmed', async () => {
    try {
      for (const { file, bytes } of keptInputs(name))
        expect([file, await tryInput(target, bytes)]).toEqual([file, undefined])
    } finally {
      await target.close?.()
    }
  })

  it('takes or refuses whatever else comes', async () => {
    // A new seed each time: what it finds is printed, to be kept.
    const seed = Math.floor(Math.random() * 2 ** 32)
    const { executions, accepted, refused, findings } = await fuzz(target, { seed, seconds: 0.5 })
    const shown = findings.map(({ input, error }) => ({
      error: `${error.name}: ${error.message}`,
      base64: Buffer.from(input).toString('base64'),
    }))
    expect({ seed, findings: shown }).toEqual({ seed, findings: [] })
    expect(executions).toBeGreaterThan(0)
    // Inputs of which all are refused, or all are taken, show little.
    expect(accepted).toBeGreaterThan(0)
    expect(refused).toBeGreaterThan(0)
  })
})

describe('the fuzzer', () => {
  const decoder = (run: (input: Uint8Array) => boolean): Target => ({
    name: 'planted',
    seeds: () => [Uint8Array.of(0xb1, 0, 0, 4, 1, 2, 3, 4)],
    run: input => {
      try {
        return run(input)
      } catch (error) {
        return refusedWith(error, new Set(['BAD_FRAME']))
      }
    },
  })
  const length = (input: Uint8Array): number =>
    new DataView(input.buffer, input.byteOffset, input.length).getUint32(0) & 0xff_ffff
  const found = async (target: Target): Promise<string[]> =>
    (await fuzz(target, { seed: 1, executions: 100_000 })).findings.map(
      ({ error }) => error.message,
    )

  it('finds an error of the wrong class', async () => {
    const target = decoder(input => length(input) === 4)
    expect(await found(target)).toEqual([expect.stringContaining('bounds')])
  })

  it('finds nothing where every refusal has its code', async () => {
    const target = decoder(input => {
      if (input.length < 4) throw new LogloomError('BAD_FRAME', 'short')
      return length(input) === input.length - 4
    })
    expect(await found(target)).toEqual([])
  })

  it('finds an input that takes longer than its size allows', async () => {
    const target = decoder(input => {
      const steps = input[0] === 0xff && input[4] === 1 ? 1e8 : 0
      let sum = 0
      for (let n = 0; n < steps; n++) sum += n % 7
      return sum >= 0
    })
    const { findings } = await fuzz(target, { seed: 1, executions: 20_000, findingsMax: 1 })
    expect(findings.map(({ error }) => error.message)).toEqual([
      expect.stringMatching(/ ms for \d+ bytes/),
    ])
  })

  it('finds a prototype that was changed', async () => {
    const target = decoder(input => {
      if (input[4] === 0xff) (Object.prototype as Record<string, unknown>).polluted = true
      return true
    })
    try {
      expect(await found(target)).toContain('prototypes changed: Object')
    } finally {
      delete (Object.prototype as Record<string, unknown>).polluted
    }
  })
})

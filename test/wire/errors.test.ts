import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { type ErrorCode, errorTable, LogloomError, type WireError } from '../../wire/index.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const rows = [
  ...readFileSync(join(root, 'docs/errors.md'), 'utf8').matchAll(/^\| `([A-Z_]+)` \|(.*)\|$/gm),
].map(([, code = '', cells = '']) => ({ code, cells: cells.split('|').map(cell => cell.trim()) }))

describe('docs/errors.md', () => {
  it('has every code once, and no other', () => {
    expect(rows.map(({ code }) => code).sort()).toEqual(Object.keys(errorTable).sort())
  })

  it.each(rows)('says of $code what the table says', ({ code, cells }) => {
    const [retriable, raisedBy, meaning, remedy, ...more] = cells
    expect(retriable).toBe(errorTable[code as ErrorCode].retriable ? 'yes' : 'no')
    expect(
      raisedBy?.split(', ').filter(who => !['broker', 'SDK', 'start', 'upgrade'].includes(who)),
    ).toEqual([])
    expect(meaning).not.toBe('')
    expect(remedy).not.toBe('')
    expect(more).toEqual([])
  })
})

describe('error codes', () => {
  it('are all raised somewhere, and every one that is raised is in the table', () => {
    const raised = new Set<string>()
    for (const folder of ['wire', 'broker', 'client'])
      for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
        if (!file.endsWith('.ts') || (folder === 'wire' && file === 'errors.ts')) continue
        const source = readFileSync(join(root, folder, file), 'utf8')
        for (const [, code = ''] of source.matchAll(/'([A-Z]+(?:_[A-Z]+)*)'/g)) raised.add(code)
        for (const [, code = ''] of source.matchAll(/new LogloomError\(\s*'([A-Z_]+)'/g))
          expect(Object.keys(errorTable), file).toContain(code)
      }
    expect(Object.keys(errorTable).filter(code => !raised.has(code))).toEqual([])
  })

  it('have a hint each', () => {
    for (const { hint } of Object.values(errorTable)) expect(hint.length).toBeGreaterThan(10)
  })
})

describe('a LogloomError', () => {
  it('crosses the wire with everything it knows', () => {
    const error = new LogloomError(
      'MESSAGE_TOO_LARGE',
      'too large',
      { limit: 1, actual: 2 },
      { hint: 'other hint', retriable: true },
    )
    const copy = LogloomError.fromWire(JSON.parse(JSON.stringify(error.toWire())) as WireError)
    expect(copy).toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
      message: 'too large',
      retriable: true,
      hint: 'other hint',
      details: { limit: 1, actual: 2 },
    })
    expect(copy.toWire()).toEqual(error.toWire())
  })

  it('takes retriable and hint from the table, and keeps its cause to itself', () => {
    const cause = new Error('secret path')
    const error = new LogloomError('THROTTLED', 'later', {}, { cause })
    expect(error).toMatchObject({
      name: 'LogloomError',
      retriable: true,
      hint: errorTable.THROTTLED.hint,
      cause,
    })
    expect(JSON.stringify(error.toWire())).not.toContain('secret')
  })

  it('is not overruled by facts of the same name', () => {
    const error = new LogloomError('BAD_FRAME', 'm', { code: 'X', message: 'Y', retriable: true })
    expect(error.toWire()).toMatchObject({ code: 'BAD_FRAME', message: 'm', retriable: false })
  })
})

// Where to begin, as it is chosen in a form: at an end, an offset, a time, or so many records from the end.

export type Place = 'beginning' | 'end' | 'offset' | 'time' | 'last'

/** What the field beside the choice may hold. */
export const placeholders: Readonly<Record<string, string>> = {
  last: '100',
  offset: '0',
  shift: '-10',
  time: '2026-01-31T12:00:00Z',
}

/** @throws Error what is wrong with it */
export function placeOf(
  kind: Place,
  text: string,
): 'beginning' | 'end' | number | { readonly timestamp: number } | { readonly last: number } {
  const where = text.trim()
  if (kind === 'last') return { last: positive(where || '100') }
  if (kind === 'offset') return positive(where || '0')
  if (kind !== 'time') return kind
  const timestamp = Date.parse(where)
  if (Number.isNaN(timestamp)) throw new Error(`${where} is no time: use 2026-01-31T12:00:00Z`)
  return { timestamp }
}

function positive(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${text} is no number from 0`)
  return value
}

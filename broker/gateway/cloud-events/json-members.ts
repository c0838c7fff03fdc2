// The members of a JSON object as they stand in its text, so that one can be taken out while every digit of the others stays: numbers beyond 2^53 do not
// survive being read and written again. Takes a text that was found to be a JSON object: it looks for strings and brackets only, and is no check of JSON.

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c

/**
 * What stands between the braces of `text`, the JSON text of an object without space around it, but the members that have one of these names: the text of
 * the others, separated by commas. Takes time as the text is long, however deep it is nested.
 */
export function membersWithout(text: string, names: ReadonlySet<string>): string {
  const kept: string[] = []
  const end = text.length - 1
  let at = 1
  while (at < end) {
    const member = memberAt(text, at, end)
    if (member.nameTo > member.nameFrom) {
      const name = JSON.parse(text.slice(member.nameFrom, member.nameTo)) as string
      if (!names.has(name)) kept.push(text.slice(at, member.to))
    }
    at = member.to + 1
  }
  return kept.join(',')
}

interface Member {
  /** Of the name with its quotes: the first string of the member. */
  readonly nameFrom: number
  readonly nameTo: number
  /** Behind it is a comma, or the object's brace. */
  readonly to: number
}

function memberAt(text: string, from: number, end: number): Member {
  let [nameFrom, nameTo] = [from, from]
  let depth = 0
  let at = from
  for (; at < end; at++) {
    const code = text.charCodeAt(at)
    if (code === quote) {
      const to = behindString(text, at)
      if (nameTo === nameFrom) [nameFrom, nameTo] = [at, to]
      at = to - 1
    } else if (code === 0x7b || code === 0x5b) depth++
    else if (code === 0x7d || code === 0x5d) depth--
    else if (code === comma && depth === 0) break
  }
  return { nameFrom, nameTo, to: at }
}

/** `at` is its first quote. */
function behindString(text: string, at: number): number {
  let to = at + 1
  while (text.charCodeAt(to) !== quote) to += text.charCodeAt(to) === backslash ? 2 : 1
  return to + 1
}

// What all names that a pattern matches begin with, as far as its text shows it. Errs on the short side.

const letter = /[A-Za-z0-9_-]/
/** What may be written as `\.` and means itself. */
const mark = /[^A-Za-z0-9]/

/** What stands for nothing by itself: a quantifier behind it, as in `a(?)*`, `a(?i)?` or `a\Q\E?`, goes with what is before it. */
const nothing = /\(\?|\\[QE]/

/** `pattern` matches whole names (broker/state/groups/pattern.ts). */
export function literalPrefix(pattern: string): string {
  // One alternative could begin otherwise.
  if (pattern.includes('|')) return ''
  const prefix = firstLetters(pattern)
  return nothing.test(pattern) ? prefix.slice(0, -1) : prefix
}

/** The last of them occurs at least once, unless a quantifier comes behind something that stands for nothing. */
function firstLetters(pattern: string): string {
  let prefix = ''
  let at = pattern.startsWith('^') ? 1 : 0
  while (at < pattern.length) {
    const char = pattern.charAt(at)
    const next = pattern.charAt(at + 1)
    if (char === '\\' && next !== '' && mark.test(next)) {
      prefix += next
      at += 2
    } else if (letter.test(char)) {
      prefix += char
      at++
    } else break
    const quantifier = pattern.charAt(at)
    if (quantifier === '*' || quantifier === '?' || quantifier === '{') return prefix.slice(0, -1)
    if (quantifier === '+') break
  }
  return prefix
}

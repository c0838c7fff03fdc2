// Foreign text on its way to a terminal: names, descriptions and messages that others chose must not steer it, nor look like what they are not.

/** C0 and C1 without line feed and tab, DEL, marks that turn the direction of text around, separators that some terminals take for new lines. */
const steering =
  // oxlint-disable-next-line no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g
// oxlint-disable-next-line no-control-regex
const aboveAscii = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

/** A text of any number of lines. */
export function printable(text: string): string {
  return text.replace(steering, '?')
}

/** A text that has to stay on its line, as a cell of a table. */
export function printableLine(text: string): string {
  return printable(text).replace(/[\n\t]/g, '?')
}

/** The same JSON value in characters that a terminal shows: JSON escapes C0 by itself. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(
    aboveAscii,
    each => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

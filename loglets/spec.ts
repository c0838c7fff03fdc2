// Names of loglets (DESIGN 4.4), as the operator types them and the chain stores them.
//
//   SPEC := striped:N[,key=value]*:SPEC  |  NAME[,key=value]*  |  SCHEME://REST
//
// Parsing is total and pure: it knows the grammar and its bounds, not which kinds exist; that is for the registry. Every refusal names
// the text at fault and what to write instead.

import { LogletSpecError } from './contract.ts'

export type LogletSpec = StripedSpec | LeafSpec

/** `N` copies of `inner`, interleaved. */
export interface StripedSpec {
  readonly kind: 'striped'
  readonly stripes: number
  readonly options: Readonly<Record<string, string>>
  readonly inner: LogletSpec
}

/** One loglet of one provider. `address` is the `REST` of `SCHEME://REST`. */
export interface LeafSpec {
  readonly kind: string
  readonly options: Readonly<Record<string, string>>
  readonly address?: string
}

/** Stripes of one level, and leaves in all. */
export const stripesMax = 64
const specLengthMax = 1024
/** Levels of `striped`; keeps the leaves' ids short. */
const levelsMax = 6

const namePattern = /^[a-z][a-z0-9-]{0,31}$/
const keyPattern = /^[a-z][a-z0-9.-]{0,63}$/

export const isStriped = (spec: LogletSpec): spec is StripedSpec => 'inner' in spec

/** @throws {LogletSpecError} */
export function parseSpec(text: string): LogletSpec {
  if (text.length === 0)
    throw new LogletSpecError(
      'the spec is empty: write for example striped:2:file, or striped:2:native in a cluster',
    )
  if (text.length > specLengthMax)
    throw new LogletSpecError(
      `the spec has ${text.length} characters, the limit is ${specLengthMax}`,
    )
  const spec = parseLevel(text, text)
  const levels = levelsOf(spec)
  if (levels > levelsMax)
    throw new LogletSpecError(
      `${quote(text)} has ${levels} levels of striped, the limit is ${levelsMax}: use fewer levels`,
    )
  const leaves = leavesOf(spec)
  if (leaves > stripesMax)
    throw new LogletSpecError(
      `${quote(text)} has ${leaves} leaves in all, the limit is ${stripesMax}: use fewer stripes`,
    )
  return spec
}

/** The canonical text; `parseSpec(formatSpec(s))` equals `s`. */
export function formatSpec(spec: LogletSpec): string {
  if (isStriped(spec))
    return `striped:${spec.stripes}${formatOptions(spec.options)}:${formatSpec(spec.inner)}`
  if (spec.address !== undefined) return `${spec.kind}://${spec.address}`
  return spec.kind + formatOptions(spec.options)
}

/** Loglets at the bottom of the tree. */
export function leavesOf(spec: LogletSpec): number {
  return isStriped(spec) ? spec.stripes * leavesOf(spec.inner) : 1
}

function levelsOf(spec: LogletSpec): number {
  return isStriped(spec) ? 1 + levelsOf(spec.inner) : 0
}

function parseLevel(text: string, whole: string): LogletSpec {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/s.exec(text)
  if (scheme !== null)
    return { kind: scheme[1] as string, options: {}, address: scheme[2] as string }
  const colon = text.indexOf(':')
  const head = colon < 0 ? text : text.slice(0, colon)
  if (head === 'striped') return parseStriped(text, whole)
  if (colon >= 0)
    throw new LogletSpecError(
      `"${head}" in ${quote(whole)} takes no ":": only striped does (striped:N:SPEC), and values hold no ":" or ","`,
    )
  const [name, ...options] = text.split(',')
  return { kind: checkName(name as string, whole), options: parseOptions(options, whole) }
}

function parseStriped(text: string, whole: string): StripedSpec {
  const match = /^striped:([^:]*):(.*)$/s.exec(text)
  if (match === null)
    throw new LogletSpecError(
      `${quote(whole)} does not say what is striped: write striped:N:SPEC, for example striped:2:file, or striped:2:native in a cluster`,
    )
  const [count, ...options] = (match[1] as string).split(',')
  if (!/^[0-9]{1,4}$/.test(count as string))
    throw new LogletSpecError(
      `"${count}" in ${quote(whole)} is not a number of stripes: use 1 to ${stripesMax}, for example striped:2:file, or striped:2:native in a cluster`,
    )
  const stripes = Number(count)
  if (stripes < 1 || stripes > stripesMax)
    throw new LogletSpecError(`${stripes} stripes in ${quote(whole)}: use 1 to ${stripesMax}`)
  const inner = parseLevel(match[2] as string, whole)
  return { kind: 'striped', stripes, options: parseOptions(options, whole), inner }
}

function checkName(name: string, whole: string): string {
  if (name === 'striped')
    throw new LogletSpecError(
      `${quote(whole)}: write striped:N:SPEC, for example striped:2:file, or striped:2:native in a cluster`,
    )
  if (!namePattern.test(name))
    throw new LogletSpecError(
      `"${name}" in ${quote(whole)} is not the name of a loglet: use 1 to 32 of a-z 0-9 -, beginning with a letter`,
    )
  return name
}

function parseOptions(pairs: readonly string[], whole: string): Record<string, string> {
  const options: Record<string, string> = {}
  for (const pair of pairs) {
    const equals = pair.indexOf('=')
    const key = pair.slice(0, Math.max(equals, 0))
    const value = pair.slice(equals + 1)
    if (equals < 0 || !keyPattern.test(key) || value.length === 0)
      throw new LogletSpecError(
        `"${pair}" in ${quote(whole)} is not an option: write key=value after a comma, without spaces`,
      )
    if (/\s/.test(value))
      throw new LogletSpecError(`the value of ${key} in ${quote(whole)} holds a space: remove it`)
    if (Object.hasOwn(options, key))
      throw new LogletSpecError(`${key} is given twice in ${quote(whole)}: give it once`)
    options[key] = value
  }
  return options
}

function formatOptions(options: Readonly<Record<string, string>>): string {
  return Object.entries(options)
    .map(([key, value]) => `,${key}=${value}`)
    .join('')
}

function quote(text: string): string {
  return `"${text.length > 80 ? `${text.slice(0, 80)}…` : text}"`
}

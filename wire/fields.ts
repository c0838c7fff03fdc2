// Typed access to the fields of a request. What is missing or of another type is INVALID_REQUEST, naming operation, field, expected and
// actual type; integers outside the safe range are NUMBER_OUT_OF_RANGE (protocol.md 1.1).

import { LogloomError } from './errors.ts'
import type { Frame } from './frame.ts'

/** A string. */
export function str(frame: Frame, key: string): string {
  const value = frame[key]
  return typeof value === 'string' ? value : wrong(frame, key, 'a string')
}

/** An integer from 0 to 2^53 − 1; an integral float64 counts. */
export function uint(frame: Frame, key: string): number {
  const value = int(frame, key)
  return value < 0 ? outOfRange(frame, key, 'an integer from 0 to 2^53 - 1', value) : value
}

/** An integer within ±(2^53 − 1); an integral float64 counts. */
export function int(frame: Frame, key: string): number {
  const value = frame[key]
  if (typeof value !== 'number') return wrong(frame, key, 'an integer')
  if (Number.isSafeInteger(value)) return value
  return outOfRange(frame, key, 'an integer within ±(2^53 - 1)', value)
}

/** true or false. */
export function bool(frame: Frame, key: string): boolean {
  const value = frame[key]
  return typeof value === 'boolean' ? value : wrong(frame, key, 'a boolean')
}

/** Bytes: a view of the message they came in. */
export function bin(frame: Frame, key: string): Uint8Array {
  const value = frame[key]
  return value instanceof Uint8Array ? value : wrong(frame, key, 'binary')
}

/** A map with string keys; never an array or bytes. */
export function map(frame: Frame, key: string): Frame {
  const value = frame[key]
  const isMap =
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array)
  return isMap ? (value as Frame) : wrong(frame, key, 'a map')
}

/** An array. */
export function array(frame: Frame, key: string): readonly unknown[] {
  const value = frame[key]
  return Array.isArray(value) ? (value as unknown[]) : wrong(frame, key, 'an array')
}

// The same for fields that may be absent or nil: undefined then.
export const optStr = optional(str)
export const optUint = optional(uint)
export const optInt = optional(int)
export const optBool = optional(bool)
export const optBin = optional(bin)
export const optMap = optional(map)
export const optArray = optional(array)

/** Absent and nil are the same. */
function optional<T>(
  read: (frame: Frame, key: string) => T,
): (frame: Frame, key: string) => T | undefined {
  return (frame, key) =>
    frame[key] === undefined || frame[key] === null ? undefined : read(frame, key)
}

function where(frame: Frame, key: string): string {
  return `${typeof frame.op === 'string' ? frame.op : 'request'}: field ${key}`
}

function outOfRange(frame: Frame, key: string, expected: string, actual: number): never {
  throw new LogloomError(
    'NUMBER_OUT_OF_RANGE',
    `${where(frame, key)} must be ${expected}, got ${actual}`,
    { field: key, expected, actual },
  )
}

function wrong(frame: Frame, key: string, expected: string): never {
  const actual = typeName(frame[key])
  throw new LogloomError(
    'INVALID_REQUEST',
    `${where(frame, key)} must be ${expected}, got ${actual}`,
    {
      field: key,
      expected,
      actual,
    },
  )
}

function typeName(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'nil'
  if (value instanceof Uint8Array) return 'binary'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'a map' : `a ${typeof value}`
}

import { describe, expect, it } from 'vitest'
import {
  array,
  bin,
  bool,
  int,
  LogloomError,
  map,
  optArray,
  optBin,
  optBool,
  optInt,
  optMap,
  optStr,
  optUint,
  str,
  uint,
} from '../../wire/index.ts'

const frame = {
  op: 'produce',
  text: 'x',
  zero: 0,
  negative: -3,
  yes: true,
  bytes: new Uint8Array([1]),
  object: { a: 1 },
  list: [1],
  nil: null,
}

describe('required fields', () => {
  it('are given with their type', () => {
    expect(str(frame, 'text')).toBe('x')
    expect(uint(frame, 'zero')).toBe(0)
    expect(int(frame, 'negative')).toBe(-3)
    expect(bool(frame, 'yes')).toBe(true)
    expect(bin(frame, 'bytes')).toBe(frame.bytes)
    expect(map(frame, 'object')).toBe(frame.object)
    expect(array(frame, 'list')).toBe(frame.list)
  })

  const readers = { str, uint, int, bool, bin, map, array }
  const accepted: Record<keyof typeof readers, readonly (keyof typeof frame)[]> = {
    str: ['op', 'text'],
    uint: ['zero'],
    int: ['zero', 'negative'],
    bool: ['yes'],
    bin: ['bytes'],
    map: ['object'],
    array: ['list'],
  }
  it.each(Object.entries(readers))(
    '%s refuses every other type, naming operation and field',
    (name, read) => {
      for (const key of [...Object.keys(frame), 'absent']) {
        if ((accepted[name as keyof typeof readers] as readonly string[]).includes(key)) continue
        if (name === 'uint' && key === 'negative') continue
        expect(() => read(frame, key), key).toThrow(
          expect.objectContaining({
            code: 'INVALID_REQUEST',
            message: expect.stringContaining(`produce: field ${key}`),
          }),
        )
      }
    },
  )

  it('say what was expected and what was found', () => {
    const error = thrownBy(() => str(frame, 'list'))
    expect(error.details).toEqual({ field: 'list', expected: 'a string', actual: 'an array' })
    expect(error.message).toBe('produce: field list must be a string, got an array')
  })

  it('name the number that is out of range', () => {
    expect(thrownBy(() => uint({ op: 'fetch', from: -1 }, 'from'))).toMatchObject({
      code: 'NUMBER_OUT_OF_RANGE',
      details: { field: 'from', actual: -1 },
    })
    expect(thrownBy(() => int({ from: 2 ** 53 }, 'from')).code).toBe('NUMBER_OUT_OF_RANGE')
  })

  it('are not found on the prototype of the frame', () => {
    expect(thrownBy(() => map({ op: 'x' }, 'constructor')).code).toBe('INVALID_REQUEST')
  })
})

describe('optional fields', () => {
  it('are undefined when absent or nil', () => {
    for (const read of [optStr, optUint, optInt, optBool, optBin, optMap, optArray]) {
      expect(read(frame, 'nil')).toBeUndefined()
      expect(read(frame, 'absent')).toBeUndefined()
    }
  })

  it('are as strict as the others when present', () => {
    expect(optUint(frame, 'zero')).toBe(0)
    expect(thrownBy(() => optStr(frame, 'zero')).code).toBe('INVALID_REQUEST')
    expect(thrownBy(() => optUint(frame, 'negative')).code).toBe('NUMBER_OUT_OF_RANGE')
  })
})

function thrownBy(run: () => unknown): LogloomError {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(LogloomError)
    return error as LogloomError
  }
  throw new Error('nothing was thrown')
}

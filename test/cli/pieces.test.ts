// The parts of the command line that decide without waiting: formats, start offsets, lines, tables.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteSink } from '../../broker/cli/byte-sink.ts'
import { exitCodeOf, UsageError } from '../../broker/cli/exit-codes.ts'
import { formatFailure } from '../../broker/cli/failure.ts'
import { LineSplitter } from '../../broker/cli/lines.ts'
import { compileFormat, type FormattableRecord } from '../../broker/cli/record-format.ts'
import { writeRecordJson } from '../../broker/cli/record-json.ts'
import { parseStartOffset } from '../../broker/cli/start-offset.ts'
import { formatBytes, formatFields, formatTable } from '../../broker/cli/table.ts'
import { LogloomError } from '../../wire/errors.ts'

const record: FormattableRecord = {
  topic: 'orders',
  partition: 3,
  offset: 2 ** 32 + 7,
  timestamp: 1_700_000_000_123,
  key: Buffer.from('clé'),
  value: Buffer.from([0xff, 0x00, 0x41]),
  headers: [
    ['a', Buffer.from('1')],
    ['b', Buffer.from('2')],
  ],
}

function written(format: string, of: FormattableRecord = record): Buffer {
  const sink = new ByteSink(1)
  compileFormat(format)(of, sink)
  return Buffer.from(sink.view())
}

describe('foreign text', () => {
  const foreign = 'a\u001b[2Jb\u0085c\nd\u202ee\u2028f'

  it('in a table or a failure does not steer the terminal, nor begin a line', () => {
    const shown = 'a?[2Jb?c?d?e?f'
    expect(formatTable(['NAME'], [[foreign]])).toBe(`NAME\n${shown}\n`)
    expect(formatFields({ name: foreign })).toBe(`name  ${shown}\n`)
    const failed = formatFailure(new LogloomError('INTERNAL', foreign), 'table')
    expect(failed.split('\n')[0]).toBe('logloom: INTERNAL: a?[2Jb?c')
  })

  it('in JSON is what it was, in characters that do not steer either', () => {
    const sink = new ByteSink(1)
    writeRecordJson({ ...record, value: Buffer.from(foreign) }, sink)
    const line = Buffer.from(sink.view()).toString()
    expect(JSON.parse(line)).toMatchObject({ value: foreign })
    // oxlint-disable-next-line no-control-regex
    expect(line.trimEnd()).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e\u2028]/)
  })
})

describe('a record format', () => {
  it('shows every verb', () => {
    const text = written('%t %p %o %k %h %T %K %S').toString()
    expect(text).toBe('orders 3 4294967303 clé a=1,b=2 1700000000123 4 3')
  })

  it('writes values byte for byte, under both names', () => {
    const bytes = Buffer.from(record.value as Uint8Array)
    expect(written('%v')).toEqual(bytes)
    expect(written('%s')).toEqual(bytes)
  })

  it('knows the escapes and the percent sign', () => {
    expect([...written(String.raw`\n\r\t\0\\\x41\xff%%é`)]).toEqual([
      10,
      13,
      9,
      0,
      92,
      0x41,
      0xff,
      37,
      ...Buffer.from('é'),
    ])
  })

  it('writes nothing for null and gives it the length -1', () => {
    const text = written('[%k][%v] %K %S', { ...record, key: null, value: null }).toString()
    expect(text).toBe('[][] -1 -1')
  })

  it('may be as long as an argument can be', () => {
    const literal = 'x'.repeat(131_000)
    expect(written(literal, record).length).toBe(131_000)
  })

  it('refuses what it does not know', () => {
    for (const format of ['%q', '%', String.raw`\q`, '\\']) {
      expect(() => compileFormat(format), format).toThrow(UsageError)
    }
  })
})

describe('a record as JSON', () => {
  function json(of: FormattableRecord): unknown {
    const sink = new ByteSink(1)
    writeRecordJson(of, sink)
    const text = Buffer.from(sink.view()).toString()
    expect(text.endsWith('\n')).toBe(true)
    return JSON.parse(text)
  }

  it('has text where the bytes are UTF-8 and base64 where they are not', () => {
    expect(json(record)).toEqual({
      topic: 'orders',
      partition: 3,
      offset: 4294967303,
      timestamp: 1_700_000_000_123,
      key: 'clé',
      value: { base64: '/wBB' },
      headers: { a: '1', b: '2' },
    })
  })

  it('keeps null apart from the empty text', () => {
    const shown = json({ ...record, key: null, value: new Uint8Array(0), headers: [] })
    expect(shown).toMatchObject({ key: null, value: '', headers: {} })
  })

  it('shows a header with a name that objects have already', () => {
    const headers = [['__proto__', Buffer.from('x')]] as const
    const shown = json({ ...record, headers }) as { headers: object }
    expect(Object.entries(shown.headers)).toEqual([['__proto__', 'x']])
  })
})

describe('a start offset', () => {
  it('has five forms', () => {
    expect(parseStartOffset('beginning')).toBe('beginning')
    expect(parseStartOffset('end')).toBe('end')
    expect(parseStartOffset('17')).toBe(17)
    expect(parseStartOffset('-5')).toEqual({ last: 5 })
    expect(parseStartOffset('@1700000000000')).toEqual({ timestamp: 1_700_000_000_000 })
    const timestamp = Date.UTC(2026, 0, 31, 8)
    expect(parseStartOffset('@2026-01-31T08:00:00Z')).toEqual({ timestamp })
  })

  it('refuses anything else', () => {
    for (const text of ['', 'start', '1.5', '@', '@soon', '--1', '9007199254740993']) {
      expect(() => parseStartOffset(text), text).toThrow(/It must be beginning/)
    }
  })
})

describe('lines of a byte stream', () => {
  function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
    const splitter = new LineSplitter(1 << 20)
    const lines: Buffer[] = []
    const edges = [0, ...[...cuts].sort((a, b) => a - b), bytes.length]
    for (let i = 1; i < edges.length; i++) {
      lines.push(...splitter.split(bytes.subarray(edges[i - 1], edges[i])))
    }
    lines.push(...splitter.end())
    return lines
  }

  it('are the same wherever the stream is cut', () => {
    const line = fc
      .array(fc.integer({ min: 0, max: 255 }).filter(byte => byte !== 10))
      .map(bytes => Buffer.from(bytes))
    const property = fc.property(
      fc.array(line),
      fc.array(fc.nat(200)),
      fc.boolean(),
      (lines, cuts, hasFinalNewline) => {
        const text = Buffer.concat(lines.flatMap(bytes => [bytes, Buffer.from('\n')]))
        const bytes = hasFinalNewline ? text : text.subarray(0, -1)
        const expected = [...lines]
        if (!hasFinalNewline && expected.at(-1)?.length === 0) expected.pop()
        const found = split(
          bytes,
          cuts.map(cut => Math.min(cut, bytes.length)),
        )
        expect(found.map(each => each.toString('hex'))).toEqual(
          expected.map(each => each.toString('hex')),
        )
      },
    )
    fc.assert(property)
  })

  it('are bounded', () => {
    const splitter = new LineSplitter(10)
    expect(() => splitter.split(Buffer.from('12345678901')).next()).toThrow(/more than 10 bytes/)
  })
})

describe('tables', () => {
  it('pad texts to the right and numbers to the left', () => {
    const text = formatTable(
      ['NAME', 'N'],
      [
        ['a', 1],
        ['long', 100],
        ['b', null],
      ],
    )
    expect(text).toBe('NAME    N\na       1\nlong  100\nb       -\n')
  })

  it('show bytes in a readable unit', () => {
    expect([0, 1023, 1024, 5 * 2 ** 20].map(formatBytes)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '5.0 MiB',
    ])
  })
})

describe('a failure', () => {
  it('has a code, a message and a hint in both formats', () => {
    const error = new LogloomError('UNKNOWN_TOPIC', 'no topic x', {}, { hint: 'create it' })
    expect(JSON.parse(formatFailure(error, 'json'))).toEqual({
      error: { code: 'UNKNOWN_TOPIC', message: 'no topic x', hint: 'create it' },
    })
    expect(formatFailure(error, 'table')).toBe(
      'logloom: UNKNOWN_TOPIC: no topic x\n  hint: create it\n',
    )
  })

  it('cannot steer the terminal', () => {
    const error = new LogloomError('INTERNAL', 'a\u001b[2Jb', {}, { hint: '' })
    expect(formatFailure(error, 'table')).toBe('logloom: INTERNAL: a?[2Jb\n')
  })

  it('chooses the exit code', () => {
    expect(exitCodeOf(new UsageError('x'))).toBe(2)
    expect(exitCodeOf(new LogloomError('TIMEOUT', 'x'))).toBe(124)
    expect(exitCodeOf(new LogloomError('UNKNOWN_TOPIC', 'x'))).toBe(1)
    expect(exitCodeOf(new Error('x'))).toBe(1)
  })
})

// `logloom topic` and `logloom log`.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { linesOf, run, start, startBroker, temporaryDirectory } from './cli-process.ts'

function codeOf(stderr: string): string {
  const line = linesOf(stderr).find(each => each.startsWith('{"error"')) ?? '{"error":{}}'
  return (JSON.parse(line) as { error: { code: string } }).error.code
}

describe('logloom topic', () => {
  it('creates, lists, describes, alters and deletes', async () => {
    const broker = await startBroker()
    const create = [
      'topic',
      'create',
      'orders',
      '--partitions',
      '3',
      '--config',
      'max.message.bytes=65536',
    ]
    expect(await broker.run(create)).toEqual({
      code: 0,
      stdout: 'created orders partitions=3\n',
      stderr: '',
    })
    await broker.run(['produce', 'orders', '-p', '2'], { input: 'a\nb\n' })
    const list = await broker.run(['topic', 'list'])
    expect(list.stdout).toMatch(/^NAME +PARTITIONS +RECORDS +SIZE\norders +3 +2 +\d+ B\n$/)
    const describeJson = await broker.run(['topic', 'describe', 'orders', '--format', 'json'])
    expect(JSON.parse(describeJson.stdout)).toMatchObject({
      topic: 'orders',
      config: { 'max.message.bytes': '65536' },
      partitions: [
        { partition: 0, startOffset: 0, endOffset: 0 },
        { partition: 1, startOffset: 0, endOffset: 0 },
        { partition: 2, startOffset: 0, endOffset: 2 },
      ],
    })
    expect((await broker.run(['topic', 'describe', 'orders'])).stdout).toContain(
      'CONFIG      max.message.bytes=65536',
    )
    const alter = await broker.run([
      'topic',
      'alter',
      'orders',
      '--config',
      'max.message.bytes=1024',
    ])
    expect(alter.stdout).toBe('altered orders max.message.bytes=1024\n')
    const add = await broker.run(['topic', 'alter', 'orders', '--partitions', '5'])
    expect(add.stdout).toBe('altered orders partitions=5 max.message.bytes=1024\n')
    await broker.run(['produce', 'orders', '-p', '4'], { input: 'c\n' })
    expect((await broker.run(['consume', 'orders', '-e'])).stdout).toBe('a\nb\nc\n')
    expect((await broker.run(['topic', 'delete', 'orders'])).stdout).toBe('deleted orders\n')
    expect((await broker.run(['topic', 'list', '--format', 'json'])).stdout).toBe('{"topics":[]}\n')
  })

  it('trims a topic by number, time and end, and says before what would go', async () => {
    const broker = await startBroker()
    await broker.run(['topic', 'create', 'old', '--partitions', '2'])
    await broker.run(['produce', 'old', '-p', '0'], { input: 'a\nb\nc\n' })
    const trim = (...args: string[]) => broker.run(['topic', 'trim', 'old', ...args])
    const vague = await trim('--before', '2')
    expect([vague.code, codeOf((await trim('--before', '2', '--format', 'json')).stderr)]).toEqual([
      2,
      'USAGE',
    ])
    const dry = await trim('--before', '-1', '--dry-run')
    expect(dry.stdout).toBe(
      'PARTITION  START  WOULD GO\n        0      2         2\n        1      0         0\n',
    )
    const json = await trim('--before', '2', '--partition', '0', '--format', 'json')
    expect(JSON.parse(json.stdout)).toEqual({
      topic: 'old',
      dryRun: false,
      partitions: [{ partition: 0, startOffset: 2, deleted: 2 }],
    })
    expect((await trim('--before', 'end')).stdout).toContain('        0      3        1\n')
    const none = await broker.run(['consume', 'old', '-e'])
    expect(none.stdout).toBe('')
    const beyond = await trim('--before', '9', '--partition', '0', '--format', 'json')
    expect(codeOf(beyond.stderr)).toBe('OFFSET_OUT_OF_RANGE')
  })

  it('is read as it was at a position of the log', async () => {
    const broker = await startBroker()
    await broker.run(['produce', 'past'], { input: 'a\nb\n' })
    const described = await broker.run(['log', 'describe', '--format', 'json'])
    const { tail } = JSON.parse(described.stdout) as { tail: number }
    await broker.run(['produce', 'past'], { input: 'c\n' })
    const consume = (...args: string[]) => broker.run(['consume', 'past', ...args])
    expect((await consume('--as-of', String(tail))).stdout).toBe('a\nb\n')
    expect((await consume('--as-of', String(tail), '-o', '-1')).stdout).toBe('b\n')
    expect((await consume('-e')).stdout).toBe('a\nb\nc\n')
    const beyond = await consume('--as-of', '1000000', '--format', 'json')
    expect([beyond.code, codeOf(beyond.stderr)]).toEqual([1, 'OFFSET_OUT_OF_RANGE'])
    expect((await consume('--as-of', '1', '-g', 'g')).code).toBe(2)
  })

  it('refuses what cannot be, with the code of the reason', async () => {
    const broker = await startBroker()
    await broker.run(['topic', 'create', 'here'])
    const cases: readonly (readonly [readonly string[], string])[] = [
      [['create', 'here'], 'TOPIC_EXISTS'],
      [['create', 'a/b'], 'INVALID_TOPIC_NAME'],
      [['create', 'many', '--partitions', '1000000000'], 'INVALID_PARTITIONS'],
      [['create', 'odd', '--config', 'no.such.key=1'], 'INVALID_CONFIG'],
      [['describe', 'gone'], 'UNKNOWN_TOPIC'],
      [['delete', 'gone'], 'UNKNOWN_TOPIC'],
      [['alter', 'gone', '--config', 'max.message.bytes=1024'], 'UNKNOWN_TOPIC'],
      [['alter', 'here', '--partitions', '1'], 'INVALID_PARTITIONS'],
    ]
    for (const [args, expected] of cases) {
      const { code, stderr } = await broker.run(['topic', ...args, '--format', 'json'])
      expect([args, code, codeOf(stderr)]).toEqual([args, 1, expected])
    }
    const again = await broker.run(['topic', 'create', 'here', '--if-not-exists'])
    expect(again.stdout).toBe('exists here partitions=1\n')
  })
})

describe('logloom log', () => {
  it('switches while a producer runs, without an error and without a lost line', async () => {
    const broker = await startBroker()
    const producing = start(['produce', 'flow', '-K', ':', '--url', broker.url])
    let sent = 0
    const send = (count: number): void => {
      let text = ''
      for (const end = sent + count; sent < end; sent++) text += `k:${sent}\n`
      producing.child.stdin.write(text)
    }
    await broker.run(['topic', 'create', 'flow'])
    for (const spec of ['file', 'striped:3:file', 'striped:2:file']) {
      send(5000)
      const { code, stdout } = await broker.run(['log', 'switch', spec, '--format', 'json'])
      expect(code).toBe(0)
      const { sealed, pauseMs, opened } = JSON.parse(stdout) as {
        sealed: { index: number; end: number }
        pauseMs: number
        opened: { index: number; start: number; spec: string }
      }
      expect(opened).toEqual({ index: sealed.index + 1, start: sealed.end, spec })
      expect(pauseMs).toBeGreaterThanOrEqual(0)
    }
    send(5000)
    producing.child.stdin.end()
    const { code, stderr } = await producing.exited
    expect([code, stderr]).toEqual([0, expect.stringMatching(/^produced 20000 .* retries: 0\n$/)])
    const { stdout } = await broker.run(['consume', 'flow', '-e'])
    expect(linesOf(stdout)).toEqual(Array.from({ length: 20_000 }, (_, i) => String(i)))
    const described = await broker.run(['log', 'describe', '--format', 'json'])
    const { segments } = JSON.parse(described.stdout) as {
      segments: { index: number; start: number; end: number | null; spec: string; state: string }[]
    }
    expect(segments.map(({ spec, state }) => [spec, state])).toEqual([
      ['striped:2:file', 'sealed'],
      ['file', 'sealed'],
      ['striped:3:file', 'sealed'],
      ['striped:2:file', 'open'],
    ])
    expect(segments.at(-1)?.end).toBeNull()
  })

  it('shows the chain as a table', async () => {
    const broker = await startBroker()
    await broker.run(['log', 'seal'])
    const { stdout } = await broker.run(['log', 'describe'])
    expect(stdout).toMatch(/^VERSION {2}\d+\nTAIL {5}\d+\nAPPLIED {2}\d+\nTRIM {5}\d+\n\nSEGMENT/)
    expect(stdout).toMatch(
      / 0 {2}0\.\.\d+ +striped:2:file {2}sealed\n +1 {2}\d+\.\.\(tail\) +striped:2:file {2}open\n$/,
    )
  })

  it('warns when it switched to memory, and not when that was refused', async () => {
    const broker = await startBroker()
    const { code, stderr } = await broker.run(['log', 'switch', 'memory'])
    expect(code).toBe(0)
    expect(stderr).toContain('warning: a memory loglet forgets')
    const refused = await broker.run(['log', 'switch', 'striped:2,servers=shared:memory'])
    expect(refused.code).toBe(1)
    expect(refused.stderr).not.toContain('forgets')
    // What exists only in a cluster is not proposed, and said to be so.
    const native = await broker.run(['log', 'switch', 'native'])
    expect([native.code, native.stderr]).toEqual([
      1,
      expect.stringMatching(
        /"native" is not for this log: it needs a cluster.*use file, memory, striped/,
      ),
    ])
  })

  it('refuses a spec that does not exist and a lost race, and changes nothing', async () => {
    const broker = await startBroker()
    await broker.run(['log', 'seal'])
    const before = await broker.run(['log', 'describe', '--format', 'json'])
    const bad = await broker.run(['log', 'switch', 'papyrus', '--format', 'json'])
    expect([bad.code, codeOf(bad.stderr)]).toEqual([1, 'INVALID_SPEC'])
    const late = await broker.run([
      'log',
      'switch',
      'file',
      '--expected-index',
      '0',
      '--format',
      'json',
    ])
    expect([late.code, codeOf(late.stderr)]).toEqual([1, 'RECONFIGURE_CONFLICT'])
    const after = await broker.run(['log', 'describe', '--format', 'json'])
    const chain = (text: string): unknown => (JSON.parse(text) as { segments: unknown }).segments
    expect(chain(after.stdout)).toEqual(chain(before.stdout))
  })

  it('trims only what nobody needs, unless it is forced', async () => {
    const broker = await startBroker()
    await broker.run(['produce', 'old'], { input: 'a\nb\n' })
    await broker.run(['produce', 'new'], { input: 'c\n' })
    const { stdout } = await broker.run(['log', 'describe', '--format', 'json'])
    const { applied } = JSON.parse(stdout) as { applied: number }
    const refused = await broker.run(['log', 'trim', String(applied), '--format', 'json'])
    expect([refused.code, codeOf(refused.stderr)]).toEqual([1, 'TRIM_BLOCKED'])
    expect(refused.stderr).toContain('old')
    const forced = await broker.run(['log', 'trim', String(applied), '--force', '--format', 'json'])
    expect(forced.code).toBe(0)
    const { trim } = JSON.parse(forced.stdout) as { trim: number }
    expect(trim).toBeGreaterThan(0)
    expect(trim).toBeLessThanOrEqual(applied)
    expect((await broker.run(['consume', 'old', '-e'])).stdout).toBe('')
    await broker.run(['produce', 'old'], { input: 'd\n' })
    expect((await broker.run(['consume', 'old', '-e', '-f', String.raw`%o %v\n`])).stdout).toBe(
      '2 d\n',
    )
  })

  it('verifies a running log, and the directory of a stopped one', async () => {
    const broker = await startBroker()
    await broker.run(['produce', 'checked'], { input: 'a\nb\n' })
    const online = await broker.run(['log', 'verify', '--format', 'json'])
    expect(online.code).toBe(0)
    expect(JSON.parse(online.stdout)).toMatchObject({ ok: true, damaged: [] })
    const busy = await run(['log', 'verify', '--data', broker.data, '--format', 'json'])
    expect([busy.code, codeOf(busy.stderr)]).toEqual([1, 'DATA_DIR_LOCKED'])
    await broker.stop()
    const offline = await run(['log', 'verify', '--data', broker.data])
    expect([offline.code, offline.stdout]).toEqual([0, expect.stringMatching(/^ok: \d+ entries, /)])
  })

  it('reports each damaged range of a stopped log and ends with 1', async () => {
    const broker = await startBroker({ args: ['--loglet', 'file'] })
    for (const text of ['first', 'second', 'third']) {
      await broker.run(['produce', 'hurt'], { input: `${text.repeat(50)}\n` })
    }
    await broker.run(['log', 'seal'])
    await broker.stop()
    damage(broker.data, 'second'.repeat(50))
    const { code, stdout } = await run(['log', 'verify', '--data', broker.data, '--format', 'json'])
    expect(code).toBe(1)
    const report = JSON.parse(stdout) as { ok: boolean; damaged: { from: number; to: number }[] }
    expect(report.ok).toBe(false)
    expect(report.damaged.length).toBeGreaterThan(0)
    for (const { from, to } of report.damaged) expect(to).toBeGreaterThan(from)
  })

  it('verifies nothing where there is no log', async () => {
    const { code, stderr } = await run([
      'log',
      'verify',
      '--data',
      temporaryDirectory(),
      '--format',
      'json',
    ])
    expect([code, codeOf(stderr)]).toEqual([1, 'INVALID_REQUEST'])
  })
})

/** Flips one bit of the text, wherever the log stores it. */
function damage(data: string, text: string): void {
  const files = readdirSync(data, { recursive: true, encoding: 'utf8' })
  for (const file of files.filter(name => name.endsWith('.log'))) {
    const bytes = readFileSync(join(data, file))
    const at = bytes.indexOf(text)
    if (at < 0) continue
    bytes[at + 5] = (bytes[at + 5] ?? 0) ^ 1
    writeFileSync(join(data, file), bytes)
    return
  }
  throw new Error('the text to damage is not in the log')
}

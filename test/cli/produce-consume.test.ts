// Lines in, records out, across restarts.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import {
  type BrokerUnderTest,
  cliPath,
  freePort,
  linesOf,
  run,
  start,
  startBroker,
} from './cli-process.ts'

interface JsonRecord {
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: unknown
  readonly value: unknown
}

async function consumed(
  broker: BrokerUnderTest,
  args: readonly string[],
): Promise<readonly JsonRecord[]> {
  const { code, stdout, stderr } = await broker.run(['consume', ...args, '--format', 'json'])
  expect([code, stderr]).toEqual([0, ''])
  return linesOf(stdout).map(line => JSON.parse(line) as JsonRecord)
}

function numbers(from: number, to: number): string {
  let text = ''
  for (let n = from; n < to; n++) text += `${n}\n`
  return text
}

describe('logloom produce', () => {
  it('writes each line and says what it did on stderr', async () => {
    const broker = await startBroker()
    const { code, stdout, stderr } = await broker.run(['produce', 'lines'], { input: 'a\n\nbc' })
    expect([code, stdout]).toEqual([0, ''])
    expect(stderr).toMatch(/^produced 3 records, 3 bytes in [\d.]+ s, retries: 0\n$/)
    expect((await consumed(broker, ['lines', '-e'])).map(record => record.value)).toEqual([
      'a',
      '',
      'bc',
    ])
  })

  it('says it as JSON', async () => {
    const broker = await startBroker()
    const { stderr } = await broker.run(['produce', 'lines', '--format', 'json'], {
      input: 'a\nb\n',
    })
    expect(JSON.parse(stderr)).toEqual({
      records: 2,
      bytes: 2,
      seconds: expect.any(Number) as number,
      retries: 0,
    })
  })

  it('splits key and value at the first delimiter, and keeps lines without one whole', async () => {
    const broker = await startBroker()
    await broker.run(['produce', 'keyed', '-K', '::'], { input: 'k::v::w\nplain\n::empty\n' })
    const records = await consumed(broker, ['keyed', '-e'])
    expect(records.map(({ key, value }) => [key, value])).toEqual([
      ['k', 'v::w'],
      [null, 'plain'],
      ['', 'empty'],
    ])
  })

  it('takes the key from a field of JSON lines', async () => {
    const broker = await startBroker()
    const lines = ['{"id":"a","n":1}', '{"id":7}', '{"n":2}', '{"id":null}']
    await broker.run(['produce', 'json', '--key-field', 'id'], { input: lines.join('\n') })
    const records = await consumed(broker, ['json', '-e'])
    expect(records.map(record => record.key)).toEqual(['a', '7', null, null])
    expect(records.map(record => record.value)).toEqual(lines)
  })

  it('takes no key from what every object inherits, and refuses lists', async () => {
    const broker = await startBroker()
    const lines = ['{"constructor":"own"}', '{"n":1}']
    await broker.run(['produce', 'own', '--key-field', 'constructor'], { input: lines.join('\n') })
    const records = await consumed(broker, ['own', '-e'])
    expect(records.map(record => record.key)).toEqual(['own', null])
    const inherited = await broker.run(['produce', 'own', '--key-field', '__proto__'], {
      input: '{}',
    })
    expect(inherited.code).toBe(0)
    const last = (await consumed(broker, ['own', '-e'])).at(-1)
    expect(last).toMatchObject({ key: null, value: '{}' })
    const list = await broker.run(['produce', 'own', '--key-field', 'length'], { input: '[1]' })
    expect(list.stderr).toContain('line 1 is not a JSON object')
  })

  it('names the line that is no JSON object', async () => {
    const broker = await startBroker()
    const input = '{"id":1}\nnonsense\n'
    const { code, stderr } = await broker.run(['produce', 'json', '--key-field', 'id'], { input })
    expect(code).toBe(1)
    expect(stderr).toContain('INVALID_REQUEST: line 2 is not a JSON object')
  })

  it('sends equal keys to one partition and spreads lines without key', async () => {
    const broker = await startBroker()
    await broker.run(['topic', 'create', 'spread', '--partitions', '4'])
    const input = Array.from({ length: 100 }, (_, i) => `k${i % 10}:${i}`).join('\n')
    await broker.run(['produce', 'spread', '-K', ':'], { input })
    const records = await consumed(broker, ['spread', '-e'])
    expect(records).toHaveLength(100)
    const partitionOf = new Map(records.map(({ key, partition }) => [key, partition]))
    expect(records.every(({ key, partition }) => partitionOf.get(key) === partition)).toBe(true)
    expect(new Set(partitionOf.values()).size).toBeGreaterThan(1)
  })

  it('writes to the partition asked for, and refuses one that does not exist', async () => {
    const broker = await startBroker()
    await broker.run(['topic', 'create', 'two', '--partitions', '2'])
    await broker.run(['produce', 'two', '-p', '1'], { input: 'x\ny\n' })
    expect((await consumed(broker, ['two', '-e'])).map(record => record.partition)).toEqual([1, 1])
    const { code, stderr } = await broker.run(['produce', 'two', '-p', '2'], { input: 'x\n' })
    expect(code).toBe(1)
    expect(stderr).toContain('UNKNOWN_PARTITION')
    expect(stderr).toContain('1 of 1 lines')
  })

  it('refuses a line that is too large, naming the limit, and stops', async () => {
    const broker = await startBroker()
    const input = `small\n${'x'.repeat(3 << 20)}\n`
    const { code, stderr } = await broker.run(['produce', 'large'], { input })
    expect(code).toBe(1)
    expect(stderr).toContain('MESSAGE_TOO_LARGE')
    expect((await consumed(broker, ['large', '-e'])).map(record => record.value)).toEqual(['small'])
  })

  it('refuses a topic name that cannot be', async () => {
    const { code, stderr } = await run(['produce', '../x', '--format', 'json'], { input: 'x\n' })
    expect(code).toBe(1)
    expect(stderr).toContain('INVALID_TOPIC_NAME')
  })

  it('does nothing well: no line, no record, exit 0', async () => {
    const broker = await startBroker()
    const { code, stderr } = await broker.run(['produce', 'none'])
    expect(code).toBe(0)
    expect(stderr).toContain('produced 0 records')
  })

  it('waits for a broker that is not there yet', async () => {
    const port = await freePort()
    const producing = start(['produce', 'early', '--url', `ws://127.0.0.1:${port}`], {
      input: numbers(0, 1000),
    })
    await producing.until((_, stderr) => stderr.includes('waiting for'))
    const broker = await startBroker({ port })
    expect((await producing.exited).code).toBe(0)
    const { stdout } = await broker.run(['consume', 'early', '-e'])
    expect(stdout).toBe(numbers(0, 1000))
  })

  it('gives up with 124 when the delivery timeout passes', async () => {
    const url = `ws://127.0.0.1:${await freePort()}`
    const args = [
      'produce',
      'late',
      '--url',
      url,
      '--delivery-timeout-ms',
      '300',
      '--format',
      'json',
    ]
    const { code, stderr } = await run(args, { input: 'x\ny\n' })
    expect(code).toBe(124)
    const error = linesOf(stderr).find(line => line.startsWith('{"error"')) ?? ''
    expect(JSON.parse(error)).toMatchObject({ error: { code: 'TIMEOUT' } })
  })

  it('holds stdin back when the broker does not take more', async () => {
    const port = await freePort()
    const producing = start(['produce', 'much', '--url', `ws://127.0.0.1:${port}`])
    // More than the producer's window of 32 MiB and all buffers of the pipe.
    const chunk = Buffer.from(`${'x'.repeat(1023)}\n`.repeat(1024))
    let written = 0
    while (producing.child.stdin.write(chunk) || producing.child.stdin.writableLength < 8 << 20) {
      written += chunk.length
      await new Promise(resolve => setImmediate(resolve))
      if (written > 256 << 20) break
    }
    expect(written).toBeLessThan(128 << 20)
    producing.child.stdin.end()
    await startBroker({ port })
    const { code, stderr } = await producing.exited
    expect(code).toBe(0)
    expect(stderr).toMatch(/produced \d+ records/)
  })

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'brings what it has read to its end on %s',
    async signal => {
      const broker = await startBroker()
      await broker.run(['topic', 'create', 'cut'])
      const producing = start(['produce', 'cut', '--url', broker.url])
      producing.child.stdin.write('one\ntwo\nthr')
      await broker.run(['consume', 'cut', '-n', '2'])
      process.kill(producing.pid, signal)
      const { code } = await producing.exited
      expect(code).toBe(0)
      const { stdout } = await broker.run(['consume', 'cut', '-e', '-n', '2'])
      expect(stdout).toBe('one\ntwo\n')
    },
  )
})

describe('logloom consume', () => {
  async function withTen(): Promise<BrokerUnderTest> {
    const broker = await startBroker()
    await broker.run(['produce', 'ten'], { input: numbers(0, 10) })
    return broker
  }

  it('starts where -o says', async () => {
    const broker = await withTen()
    const all = await consumed(broker, ['ten', '-e'])
    const cases: readonly (readonly [string, number])[] = [
      ['beginning', 0],
      ['end', 10],
      ['4', 4],
      ['-3', 7],
      ['-100', 0],
      ['@0', 0],
      ['@2999-01-01T00:00:00Z', 10],
      [`@${all[0]?.timestamp}`, 0],
    ]
    for (const [where, first] of cases) {
      const { code, stdout } = await broker.run(['consume', 'ten', '-e', '-o', where])
      expect([where, code, stdout]).toEqual([where, 0, numbers(first, 10)])
    }
  })

  it('counts -N per partition', async () => {
    const broker = await startBroker()
    await broker.run(['topic', 'create', 'two', '--partitions', '2'])
    await broker.run(['produce', 'two', '-p', '0'], { input: numbers(0, 5) })
    await broker.run(['produce', 'two', '-p', '1'], { input: numbers(10, 15) })
    const values = (await consumed(broker, ['two', '-e', '-o', '-2'])).map(record =>
      Number(record.value),
    )
    expect([...values].sort((a, b) => a - b)).toEqual([3, 4, 13, 14])
    const one = await consumed(broker, ['two', '-e', '-p', '1'])
    expect(one.map(record => record.partition)).toEqual([1, 1, 1, 1, 1])
  })

  it('says where the partition ends when the offset lies beyond it', async () => {
    const broker = await withTen()
    const { code, stderr } = await broker.run(['consume', 'ten', '-e', '-o', '11', '-p', '0'])
    expect(code).toBe(1)
    expect(stderr).toContain('OFFSET_OUT_OF_RANGE')
    expect(stderr).toContain('10')
  })

  it('stops after -n records, at once for none', async () => {
    const broker = await withTen()
    expect((await broker.run(['consume', 'ten', '-n', '3'])).stdout).toBe(numbers(0, 3))
    expect(await broker.run(['consume', 'ten', '-n', '0'])).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    })
  })

  it('ends at the end of an empty topic with -e', async () => {
    const broker = await startBroker()
    await broker.run(['topic', 'create', 'empty', '--partitions', '3'])
    expect(await broker.run(['consume', 'empty', '-e'])).toEqual({
      code: 0,
      stdout: '',
      stderr: '',
    })
  })

  it('prints what the format asks for', async () => {
    const broker = await startBroker()
    await broker.run(['produce', 'shown', '-K', ':'], { input: 'k:value\nplain\n' })
    const format = String.raw`%t %p %o %k|%v|%s %K %S %h%%\n`
    const { stdout } = await broker.run(['consume', 'shown', '-e', '-f', format])
    expect(stdout).toBe('shown 0 0 k|value|value 1 5 %\nshown 0 1 |plain|plain -1 5 %\n')
  })

  it('prints bytes as they are and as base64 in JSON', async () => {
    const broker = await startBroker()
    const bytes = Buffer.from([0xff, 0xfe, 0x00])
    await broker.run(['produce', 'raw'], { input: bytes })
    expect((await consumed(broker, ['raw', '-e']))[0]?.value).toEqual({ base64: '//4A' })
  })

  it('follows what is produced after it started', async () => {
    const broker = await withTen()
    const following = start(['consume', 'ten', '--url', broker.url], { input: '' })
    await following.until(stdout => stdout === numbers(0, 10))
    await broker.run(['produce', 'ten'], { input: numbers(10, 12) })
    await following.until(stdout => stdout === numbers(0, 12))
    process.kill(following.pid, 'SIGTERM')
    expect((await following.exited).code).toBe(0)
  })

  it('goes on after a restart of the broker, each record once', async () => {
    const broker = await withTen()
    const { port, data } = broker
    const following = start(['consume', 'ten', '--url', broker.url], { input: '' })
    await following.until(stdout => stdout === numbers(0, 10))
    await broker.stop('SIGKILL')
    const again = await startBroker({ port, data })
    await again.run(['produce', 'ten'], { input: numbers(10, 12) })
    await following.until(stdout => linesOf(stdout).length >= 12)
    expect(following.stdout()).toBe(numbers(0, 12))
  })

  it('names a topic that does not exist', async () => {
    const broker = await startBroker()
    const { code, stderr } = await broker.run(['consume', 'nowhere', '--format', 'json'])
    expect(code).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'UNKNOWN_TOPIC' } })
  })

  it('ends quietly with 0 when its reader goes away', async () => {
    const broker = await startBroker()
    await broker.run(['produce', 'piped'], { input: numbers(0, 200_000) })
    const command = `"${process.execPath}" "${cliPath}" consume piped --url ${broker.url} | head -n 1; echo "exit \${PIPESTATUS[0]}"`
    const shell = spawn('bash', ['-c', command])
    let output = ''
    shell.stdout.on('data', text => {
      output += String(text)
    })
    shell.stderr.on('data', text => {
      output += String(text)
    })
    await once(shell, 'close')
    expect(output).toBe('0\nexit 0\n')
  })

  it('holds the broker back while its reader is slow, and loses nothing', async () => {
    const broker = await startBroker()
    const input = `${'y'.repeat(999)}\n`.repeat(30_000)
    await broker.run(['produce', 'slow'], { input })
    const reading = start(['consume', 'slow', '-e', '--url', broker.url], { input: '' })
    reading.child.stdout.pause()
    // While nobody reads its output the command can neither end nor fail.
    const other = await broker.run(['consume', 'slow', '-e', '-n', '30000'])
    expect(linesOf(other.stdout)).toHaveLength(30_000)
    expect(reading.child.exitCode).toBeNull()
    reading.child.stdout.resume()
    const { code, stdout } = await reading.exited
    expect([code, stdout.length]).toEqual([0, input.length])
  })
})

describe('records', () => {
  it('survive kill -9 of the broker between produce and consume', async () => {
    const broker = await startBroker()
    const input = numbers(0, 50_000)
    expect((await broker.run(['produce', 'kept'], { input })).code).toBe(0)
    await broker.stop('SIGKILL')
    const again = await startBroker({ data: broker.data })
    expect((await again.run(['consume', 'kept', '-e'])).stdout).toBe(input)
  })

  it.each(['SIGKILL', 'SIGTERM'] as const)(
    'arrive once and in order when the broker gets %s and comes back while they are produced',
    async signal => {
      const broker = await startBroker()
      const { port, data } = broker
      const producing = start(['produce', 'through', '--url', broker.url])
      const { stdin } = producing.child
      const following = async (least: number, at: BrokerUnderTest): Promise<void> => {
        await at.run(['consume', 'through', '-n', String(least)])
      }
      await broker.run(['topic', 'create', 'through'])
      stdin.write(numbers(0, 20_000))
      await following(1, broker)
      await broker.stop(signal)
      stdin.write(numbers(20_000, 40_000))
      const again = await startBroker({ port, data })
      await following(20_000, again)
      stdin.end(numbers(40_000, 60_000))
      const { code, stderr } = await producing.exited
      expect([code, stderr]).toEqual([0, expect.stringContaining('produced 60000 records')])
      expect((await again.run(['consume', 'through', '-e'])).stdout).toBe(numbers(0, 60_000))
    },
  )
})

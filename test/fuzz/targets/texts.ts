// What people type and what they write into files: settings, logloom.json, specs of loglets, command lines, offsets, formats, names, patterns.
//
// Rules: one class of errors for each; what is taken is written and read as the same; a pattern costs time that fits its length.

import { type Command, CommanderError, InvalidArgumentError } from 'commander'
import { ByteSink } from '../../../broker/cli/byte-sink.ts'
import { UsageError } from '../../../broker/cli/exit-codes.ts'
import { LineSplitter } from '../../../broker/cli/lines.ts'
import { brokerUrls, keyValue, seconds, whole } from '../../../broker/cli/options.ts'
import { buildProgram } from '../../../broker/cli/program.ts'
import { compileFormat } from '../../../broker/cli/record-format.ts'
import { writeRecordJson } from '../../../broker/cli/record-json.ts'
import { parseStartOffset } from '../../../broker/cli/start-offset.ts'
import { parseClusterFile } from '../../../broker/cluster/cluster-file.ts'
import { clusterConfigOf } from '../../../broker/cluster/cluster-settings.ts'
import { hostAllowed, originAllowed } from '../../../broker/gateway/origin.ts'
import { resolveSettings, type Settings, settingsTable } from '../../../broker/settings.ts'
import { checkPattern, matchesPattern } from '../../../broker/state/groups/pattern.ts'
import { LogletSpecError } from '../../../loglets/contract.ts'
import { formatSpec, parseSpec } from '../../../loglets/spec.ts'
import { checkTopicName } from '../../../wire/topic-name.ts'
import type { FuzzRandom } from '../random.ts'
import { must, refusedWith, type Target } from '../target.ts'

const decoder = new TextDecoder()
const encoder = new TextEncoder()
const seedsOf = (texts: readonly string[]) => (): Uint8Array[] =>
  texts.map(each => encoder.encode(each))
const invalidConfig = new Set(['INVALID_CONFIG'])

const settingNames = Object.keys(settingsTable)
const settingValues = [
  '0',
  '1',
  '-1',
  'true',
  'false',
  '""',
  '"x"',
  '[]',
  '["a"]',
  'null',
  '{}',
  '1e21',
  '9007199254740993',
  '"0x10"',
  '" 7 "',
  '1.5',
  '"file"',
  '"paxos"',
  '"n1"',
  '["n1=ws://127.0.0.1:5641","n2=ws://127.0.0.1:5642"]',
  '"ws://h:1"',
  '"0123456789abcdef"',
  '"broker,logserver"',
]

/** `logloom.json`, or the environment when the text is no JSON. */
export const settings: Target = {
  name: 'settings',
  seeds: seedsOf([
    '{}',
    '{"port":0,"loglet":"memory","allowedHosts":["a","b"]}',
    '{"node":"n1","peers":["n1=ws://127.0.0.1:5641","n2=ws://127.0.0.1:5642"],"clusterSecret":"0123456789abcdef"}',
    '{"__proto__":{"port":1},"constructor":1}',
    'LOGLOOM_PORT=77\nLOGLOOM_PEERS=a,b,,c\nLOGLOOM_JOIN=true',
  ]),
  generate: random => encoder.encode(generateSettings(random)),
  run: input => {
    const given = decoder.decode(input)
    let resolved: Settings
    try {
      resolved = resolveSettings(sourcesOf(given))
    } catch (error) {
      return refusedWith(error, invalidConfig)
    }
    const again = resolveSettings({ flags: resolved })
    must(JSON.stringify(again) === JSON.stringify(resolved), 'given as flags they are others')
    try {
      // A secret's file is the operator's to name; nothing is read here.
      clusterConfigOf({ ...resolved, clusterSecretFile: '' })
    } catch (error) {
      refusedWith(error, invalidConfig)
    }
    hostAllowed(given.slice(0, 80), resolved)
    originAllowed(given.slice(0, 80), 'localhost:5640', resolved)
    return true
  },
}

function sourcesOf(given: string): Parameters<typeof resolveSettings>[0] {
  try {
    const file: unknown = JSON.parse(given)
    // What start.ts lets through.
    if (typeof file === 'object' && file !== null && !Array.isArray(file))
      return { file: file as Record<string, unknown> }
  } catch {
    // Read as an environment.
  }
  const pairs = given
    .split('\n')
    .map(
      line =>
        [line.slice(0, Math.max(0, line.indexOf('='))), line.slice(line.indexOf('=') + 1)] as const,
    )
  return { env: Object.fromEntries(pairs) }
}

function generateSettings(random: FuzzRandom): string {
  const pairs = Array.from(
    { length: random.size(8) },
    () => `"${random.pick(settingNames)}":${random.pick(settingValues)}`,
  )
  return `{${pairs.join()}}`
}

const words = [
  'striped',
  'file',
  'native',
  'memory',
  ':',
  ',',
  '=',
  '2',
  '64',
  '65',
  '0',
  'servers',
  'disjoint',
  'segment.bytes',
  '4096',
  '://',
  'nats',
  ' ',
  'A',
  '__proto__',
  'constructor',
]

export const specs: Target = {
  name: 'specs',
  seeds: seedsOf([
    'striped:2:file',
    'striped:3,servers=shared:native',
    'file,segment.bytes=4096',
    'nats://host/x,y',
    'striped:2:striped:2:striped:2:file',
    'memory,constructor=1',
  ]),
  generate: random =>
    encoder.encode(Array.from({ length: 1 + random.size(16) }, () => random.pick(words)).join('')),
  run: input => {
    const given = decoder.decode(input)
    try {
      const spec = parseSpec(given)
      const formatted = formatSpec(spec)
      must(
        JSON.stringify(parseSpec(formatted)) === JSON.stringify(spec),
        `${formatted} reads as another spec`,
      )
      return true
    } catch (error) {
      if (error instanceof LogletSpecError) return false
      throw error
    }
  },
}

const record = {
  topic: 't',
  partition: 1,
  offset: 2 ** 53 - 1,
  timestamp: 5,
  key: null,
  value: Uint8Array.of(0xff, 65),
  headers: [['h', Uint8Array.of(1)]] as const,
}
const typed: readonly ((given: string) => void)[] = [
  given => checkTopicName(given),
  given => void parseStartOffset(given),
  given => void brokerUrls(given),
  given => void whole(0)(given),
  given => void seconds(given),
  given => {
    const found = keyValue(given, { a: 'b' })
    must(Object.getPrototypeOf(found) === Object.prototype, 'a pair became a prototype')
  },
  given => {
    const sink = new ByteSink(16)
    compileFormat(given)(record, sink)
    writeRecordJson({ ...record, topic: given }, sink)
    must(sink.length > 0, 'a record is nothing')
  },
  given => void parseClusterFile('d', given),
  given => {
    checkPattern(given)
    matchesPattern(given, 'a'.repeat(249))
  },
  given => {
    const splitter = new LineSplitter(1000)
    const bytes = Buffer.from(given)
    const lines: Buffer[] = []
    for (let at = 0; at < bytes.length; at += 7)
      lines.push(...splitter.split(bytes.subarray(at, at + 7)))
    lines.push(...splitter.end())
    const whole = Buffer.concat(lines.flatMap(line => [line, Buffer.from('\n')]))
    must(
      whole.length - bytes.length <= 1 && whole.subarray(0, bytes.length).equals(bytes),
      'lines are not what was split',
    )
  },
]
const typedCodes = new Set([
  'INVALID_TOPIC_NAME',
  'INVALID_REQUEST',
  'DATA_DIR_FOREIGN',
  'MESSAGE_TOO_LARGE',
])
const pieces = [
  '(',
  ')',
  '[a-z]',
  '*',
  '+',
  '?',
  '{1,400}',
  '{9}',
  '|',
  '\\p{L}',
  '^',
  '$',
  '.',
  'a',
  '%t',
  '%',
  '\\n',
  '\\x4',
  '@2026-01-31',
  '-',
  '12',
  'ws://',
  'localhost',
  ':5640',
  ',',
  '=',
  '\n',
  '__proto__',
  '{"nodeId":"n","store":"s"}',
  'é',
  '\0',
]

/** What an option or an argument holds: which one, the first byte says. */
export const arguments_: Target = {
  name: 'arguments',
  seeds: () =>
    typed.flatMap((_, i) =>
      [
        'orders.v1',
        '-12',
        '@2026-01-31T08:00:00Z',
        'ws://localhost:5640,http://b',
        'k=v',
        '%t %p %o %k %v\\n%h\\x41',
        '{"nodeId":"n-1","clusterId":"c","store":"s"}',
        '^t[a-z]+(x|y){2,3}$',
        'a\nb\n\nc',
      ].map(each => Uint8Array.of(i, ...encoder.encode(each))),
    ),
  generate: random =>
    Uint8Array.of(
      random.below(typed.length),
      ...encoder.encode(
        Array.from({ length: random.size(24) }, () => random.pick(pieces)).join(''),
      ),
    ),
  run: input => {
    try {
      const parse = typed[(input[0] ?? 0) % typed.length] as (given: string) => void
      parse(decoder.decode(input.subarray(1)))
      return true
    } catch (error) {
      if (error instanceof UsageError || error instanceof InvalidArgumentError) return false
      return refusedWith(error, typedCodes)
    }
  },
}

const stop = Symbol('the command would run now')
let quiet: Command | undefined
const commandWords = [
  'start',
  'topic',
  'create',
  'list',
  'describe',
  'delete',
  'alter',
  'trim',
  'produce',
  'consume',
  'log',
  'switch',
  'seal',
  'group',
  'reset',
  'health',
  'cluster',
  'bench',
  'latency',
  'dev',
  'token',
  'acl',
  'quota',
  'snapshot',
  '--url',
  'ws://h:1',
  '--format',
  'json',
  '--partitions',
  '3',
  '-g',
  '-o',
  '-n',
  '-e',
  '-f',
  '%v\\n',
  '-K',
  ':',
  '--key-field',
  '--config',
  'a=b',
  '--port',
  '0',
  '--wait',
  '--help',
  '--version',
  '--',
  '-',
  '',
  '--format=json',
  '--to',
  'end',
  '--__proto__',
  '-p',
  '-q',
  '1e3',
]

/** A command line: one argument a line. */
export const commandLines: Target = {
  name: 'command-lines',
  seeds: seedsOf([
    'topic\ncreate\nt\n--partitions\n3',
    'produce\nt\n-K\n:',
    'consume\nt\n-g\ng\n-o\n-5\n-n\n3\n-e\n-f\n%v\\n',
    'log\nswitch\nstriped:2:file',
    'start\n--port\n0\n--loglet\nmemory',
    'group\nreset\ng\n--to\nbeginning\n--dry-run',
  ]),
  generate: random =>
    encoder.encode(
      Array.from({ length: 1 + random.size(12) }, () => random.pick(commandWords)).join('\n'),
    ),
  run: async input => {
    quiet = silenced(buildProgram('0', 'table'))
    try {
      await quiet.parseAsync(decoder.decode(input).split('\n'), { from: 'user' })
      return true
    } catch (error) {
      if (error === stop) return true
      if (error instanceof CommanderError || error instanceof UsageError) return false
      throw error
    }
  },
}

/** Prints nothing and runs nothing. */
function silenced(program: Command): Command {
  const visit = (command: Command): void => {
    command.configureOutput({ writeOut: () => {}, writeErr: () => {}, outputError: () => {} })
    for (const child of command.commands) visit(child)
  }
  visit(program)
  program.hook('preAction', () => {
    // oxlint-disable-next-line no-throw-literal
    throw stop
  })
  return program
}

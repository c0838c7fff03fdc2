// `logloom consume`: records of a topic on stdout. The work is in consume.ts, loaded when the command runs.

import type { Command } from 'commander'
import { examples, type GlobalOptions, globalsOf, whole } from './options.ts'
import { parseStartOffset, type StartOffset } from './start-offset.ts'

export interface ConsumeOptions extends GlobalOptions {
  readonly offset: StartOffset
  readonly count?: number
  readonly exit?: boolean
  readonly output?: string
  readonly partition?: number
  readonly group?: string
  readonly queue?: string
  readonly asOf?: number
}

/** Adds the command. */
export function addConsumeCommand(program: Command): void {
  program
    .command('consume')
    .description('print the records of a topic, and those that arrive, until it is stopped')
    .argument('<topic>')
    .option(
      '-o, --offset <where>',
      'start: beginning, end, an offset N, -N for the last N of each partition, @TIME (ISO or milliseconds)',
      parseStartOffset,
      'beginning',
    )
    .option(
      '-g, --group <name>',
      'as a member of this consumer group: go on where it was, and commit what was printed',
    )
    .option(
      '-q, --queue <name>',
      'as a member of this share group: each record once over all members, acknowledged when printed',
    )
    .option('-n, --count <n>', 'stop after this many records', whole(0))
    .option('-e, --exit', 'stop at the end offsets found at the start')
    .option(
      '--as-of <position>',
      'the topic as it was at this position of the log, to the end that it had then',
      whole(0),
    )
    .option('-f, --output <format>', String.raw`text of each record (default: %v\n)`)
    .option('-p, --partition <n>', 'read this partition only (default: all)', whole(0))
    .addHelpText(
      'after',
      String.raw`
Format:
  %t topic, %p partition, %o offset, %k key, %v or %s value, %h headers, %T timestamp in ms,
  %K length of the key, %S length of the value (-1: null), %% percent; \n \r \t \0 \\ \xNN
  --format json prints one object per line: topic, partition, offset, timestamp, key, value, headers
${examples(
  'logloom consume orders -e',
  'logloom consume orders -g billing',
  'logloom consume jobs -q workers',
  String.raw`logloom consume orders -o -5 -f '%p %o %k %v\n'`,
  'logloom consume orders -o @2026-01-31T08:00:00Z -n 100 --format json',
  'logloom consume orders --as-of 48210',
)}`,
    )
    .action(
      async (topic: string, o: Omit<ConsumeOptions, keyof GlobalOptions>, command: Command) => {
        const { consume } = await import('./consume.ts')
        await consume(topic, { ...o, ...globalsOf(command) })
      },
    )
}

// `logloom produce`: lines of stdin become records. The work is in produce.ts, loaded when the command runs.

import type { Command } from 'commander'
import { UsageError } from './exit-codes.ts'
import { examples, type GlobalOptions, globalsOf, whole } from './options.ts'

export interface ProduceOptions extends GlobalOptions {
  readonly keyDelimiter?: string
  readonly keyField?: string
  readonly partition?: number
  readonly deliveryTimeoutMs: number
}

/** Adds the command. */
export function addProduceCommand(program: Command): void {
  program
    .command('produce')
    .description('write each line of stdin as a record; exits 0 only when every line is acked')
    .argument('<topic>', 'created with defaults when missing, unless the broker forbids it')
    .option('-K, --key-delimiter <text>', 'split each line into key and value at its first <text>')
    .option('--key-field <name>', 'lines are JSON objects; this field is the key')
    .option(
      '-p, --partition <n>',
      'write to this partition (default: by key, else in turn)',
      whole(0),
    )
    .option(
      '--delivery-timeout-ms <n>',
      'time for a line from reading to its ack, an absent broker included; then exit 124',
      whole(1),
      120_000,
    )
    .addHelpText(
      'after',
      examples(
        'echo hello | logloom produce greetings',
        "printf 'user-7:login\\nuser-8:logout\\n' | logloom produce events -K :",
        'logloom produce orders --key-field customer < orders.ndjson',
      ),
    )
    .action(
      async (topic: string, own: Omit<ProduceOptions, keyof GlobalOptions>, command: Command) => {
        const o: ProduceOptions = { ...own, ...globalsOf(command) }
        if (o.keyDelimiter !== undefined && o.keyField !== undefined) {
          throw new UsageError('-K and --key-field exclude each other', 'choose one of them')
        }
        if (o.keyDelimiter === '') throw new UsageError('-K needs a text', 'for example -K :')
        const { produce } = await import('./produce.ts')
        await produce(topic, o)
      },
    )
}

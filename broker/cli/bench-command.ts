// `logloom bench …`: load from this machine on a broker of yours. The work is in bench.ts, loaded when a command runs.

import type { Command } from 'commander'
import { UsageError } from './exit-codes.ts'
import { examples, type GlobalOptions, globalsOf, whole } from './options.ts'

export interface BenchOptions extends GlobalOptions {
  readonly topic: string
  readonly seconds: number
  /** Bytes of one value. */
  readonly size: number
  readonly clients: number
  readonly partitions: number
  readonly keep?: boolean
}

export interface LatencyOptions extends BenchOptions {
  /** Records per second. */
  readonly rate: number
}

export type SwitchOptions = LatencyOptions

/** Adds the command and its verbs. */
export function addBenchCommand(program: Command): void {
  const bench = program
    .command('bench')
    .description('put load on a broker, and say what it does with it')
    .addHelpText(
      'after',
      examples(
        'logloom bench produce --size 100',
        'logloom bench latency --rate 2000 --seconds 30',
        'logloom bench switch striped:4:file memory',
      ),
    )
  verb(bench, 'produce', 'send as fast as acks come')
    .addHelpText('after', examples('logloom bench produce --seconds 20 --clients 8'))
    .action(async (_, command: Command) => {
      const { benchProduce } = await import('./bench.ts')
      await benchProduce(optionsOf(command))
    })
  verb(
    bench,
    'consume',
    'read a topic from its beginning, with each client; an empty one is filled first',
  )
    .addHelpText('after', examples('logloom bench consume --topic orders --clients 1'))
    .action(async (_, command: Command) => {
      const { benchConsume } = await import('./bench.ts')
      await benchConsume(optionsOf(command))
    })
  verb(
    bench,
    'latency',
    'send at a fixed rate; latency counts from when a record was due until its ack',
  )
    .option('--rate <n>', 'records per second', whole(1), 1000)
    .addHelpText('after', examples('logloom bench latency --rate 5000 --size 100'))
    .action(async (_, command: Command) => {
      const { benchLatency } = await import('./bench.ts')
      await benchLatency(optionsOf(command))
    })
  verb(
    bench,
    'switch',
    'send at a fixed rate while the log goes to each protocol and back to that of before; --seconds is for each',
  )
    .argument('<spec...>', 'protocols, as for `logloom log switch`')
    .option('--rate <n>', 'records per second', whole(1), 1000)
    .addHelpText(
      'after',
      examples('logloom bench switch striped:2:file striped:4:file --rate 4000'),
    )
    .action(async (specs: readonly string[], _, command: Command) => {
      const { benchSwitch } = await import('./bench.ts')
      await benchSwitch(specs, optionsOf(command))
    })
}

function verb(bench: Command, name: string, description: string): Command {
  return bench
    .command(name)
    .description(description)
    .option('--topic <name>', 'made if it is not there, and deleted again in that case', 'bench')
    .option('--seconds <n>', 'how long', whole(1), 10)
    .option('--size <bytes>', 'of each value', whole(0), 1000)
    .option('--clients <n>', 'connections', whole(1), 4)
    .option('--partitions <n>', 'of a topic that is made', whole(1), 4)
    .option('--keep', 'leave a topic that was made')
}

function optionsOf(command: Command): LatencyOptions {
  const o = { ...command.opts<LatencyOptions>(), ...globalsOf(command) }
  if (o.size > 900_000) throw new UsageError('--size: at most 900000 bytes')
  return o
}

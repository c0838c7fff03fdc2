// `logloom start`: every setting of the broker is a flag. The broker itself is loaded by start.ts, when the command runs.

import type { Command } from 'commander'
import { flagName, type SettingName, settingsTable } from '../settings.ts'
import { examples, globalsOf } from './options.ts'

/** Adds the command. */
export function addStartCommand(program: Command): void {
  const command = program
    .command('start')
    .description('run a broker; prints one line on stdout when it serves, logs to stderr')
    .addHelpText(
      'after',
      `
Each setting may also come from the environment (LOGLOOM_PORT, LOGLOOM_NUM_PARTITIONS, …) or from
./logloom.json ({ "port": 5640, "numPartitions": 4 }). A flag wins over the environment, that over
the file, that over the default.
${examples(
  'logloom start',
  'logloom start --data /var/lib/logloom --loglet striped:4:file --format json',
  'logloom start --port 0 --loglet memory',
)}`,
    )
  for (const name of Object.keys(settingsTable) as SettingName[]) {
    const { type, default: value, doc } = settingsTable[name]
    const shown = Array.isArray(value) || value === '' ? '' : ` (default: ${String(value)})`
    command.option(`--${flagName(name)}${placeholders[type]}`, `${doc}${shown}`)
  }
  command.action(async (flags: Record<string, unknown>, own: Command) => {
    const { start } = await import('./start.ts')
    await start(flags, globalsOf(own).format)
  })
}

const placeholders = {
  string: ' <text>',
  number: ' <n>',
  boolean: ' [true|false]',
  list: ' <a,b,…>',
} as const

// `logloom dev`: a whole cluster on this machine. What it does is in dev.ts, loaded when the command runs.

import type { Command } from 'commander'
import { examples, globalsOf } from './options.ts'

/** Adds the command. */
export function addDevCommand(program: Command): void {
  program
    .command('dev')
    .description('run a cluster of several node processes on this machine, for trying things out')
    .option('--nodes <n>', 'how many nodes, 1 to 9', '3')
    .option('--data <dir>', 'directory of all nodes', './.logloom-dev')
    .option('--port <n>', 'clients reach node 1 here, node 2 at the next port, …', '5640')
    .option('--loglet <spec>', 'spec of the first segment of a new log', 'native')
    .addHelpText(
      'after',
      `
Prints one line per node once it serves, and ends all of them with Ctrl-C. Kill, pause or cut off any
one of three: the others go on; what starts it again is said then. Nodes reach each other at the port
of node 1 plus 100, plus 101, … (5740, 5741, …), or at free ports when one of these is in use.
${examples('logloom dev --nodes 3', 'logloom dev --nodes 3 --data /tmp/cluster --port 6000 --format json')}`,
    )
    .action(async (flags: Record<string, string>, own: Command) => {
      const { dev } = await import('./dev.ts')
      await dev(flags, globalsOf(own).format)
    })
}

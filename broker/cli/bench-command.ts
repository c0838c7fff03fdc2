// `logloom bench`: says where the benchmarks are. They are not part of the package that is installed.

import type { Command } from 'commander'
import { examples } from './options.ts'
import { writeText } from './output.ts'

/** Adds the command. */
export function addBenchCommand(program: Command): void {
  program
    .command('bench')
    .description('say how to run the benchmarks, which live in the repository')
    .addHelpText('after', examples('npm run bench'))
    .action(() => writeText('Run `npm run bench` in a checkout of the repository.\n'))
}

// All commands of `logloom`, declared; what they do is loaded when they run.
//
// Guarantees: declaring loads neither broker nor storage, so `logloom topic list` starts as fast as its connection. commander neither
// exits nor prints errors by itself: main.ts does.

import { Command, Option } from 'commander'
import { addAclCommand } from './acl-command.ts'
import { addBenchCommand } from './bench-command.ts'
import { addClusterCommand } from './cluster-command.ts'
import { addConnectionCommand } from './connection-command.ts'
import { addConsumeCommand } from './consume-command.ts'
import { addDevCommand } from './dev-command.ts'
import { addHealthCommand } from './health-command.ts'
import { addLogCommand } from './log-command.ts'
import type { Format } from './failure.ts'
import { addIdentityOptions } from './identity.ts'
import { brokerUrls, examples } from './options.ts'
import { note, print } from './output.ts'
import { addProduceCommand } from './produce-command.ts'
import { addQuotaCommand } from './quota-command.ts'
import { addSnapshotCommand } from './snapshot-command.ts'
import { addStartCommand } from './start-command.ts'
import { addGroupCommand } from './group-command.ts'
import { addTokenCommand } from './token-command.ts'
import { addTopicCommand } from './topic-command.ts'

/** Builds the command tree. */
export function buildProgram(version: string, format: Format): Command {
  const program = new Command('logloom')
    .description('A streaming broker on one virtual shared log.')
    .version(version)
    .addOption(
      new Option('--url <url>', 'address of the broker, or of several with commas between them')
        .argParser(brokerUrls)
        .default('ws://localhost:5640')
        .env('LOGLOOM_URL'),
    )
    .addOption(
      new Option('--format <format>', 'how results and errors are printed')
        .choices(['table', 'json'])
        .default('table'),
    )
  addIdentityOptions(program, format)
  program.addHelpText(
    'after',
    examples(
      'logloom start',
      'echo hello | logloom produce greetings',
      'logloom consume greetings -e',
    ),
  )
  addStartCommand(program)
  addDevCommand(program)
  addTopicCommand(program)
  addProduceCommand(program)
  addConsumeCommand(program)
  addLogCommand(program)
  addGroupCommand(program)
  addSnapshotCommand(program)
  addClusterCommand(program)
  addConnectionCommand(program)
  addTokenCommand(program)
  addAclCommand(program)
  addQuotaCommand(program)
  addHealthCommand(program)
  addBenchCommand(program)
  configure(program, format)
  return program
}

/** The settings that commander does not hand down to commands added later. */
function configure(command: Command, format: Format): void {
  command.exitOverride()
  command.configureOutput({
    writeOut: print,
    // Errors are main.ts's to print; what is left is the help of a command that lacks its verb.
    writeErr: text => {
      if (format === 'table') note(text)
    },
    outputError: () => {},
    // Help is compared with the documentation: it must not depend on the terminal.
    getOutHelpWidth: () => 100,
    getErrHelpWidth: () => 100,
    getOutHasColors: () => false,
    getErrHasColors: () => false,
  })
  command.configureHelp({ showGlobalOptions: true })
  for (const child of command.commands) configure(child, format)
}

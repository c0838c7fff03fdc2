import type { Command } from 'commander'
export function addStartCommand(program: Command): void {
  program.command('start')
}

// One node process of `logloom dev`.
//
// Guarantees: what the node logs goes to stderr, marked with its name; the error that it ends with comes last, with its code and hint and the
// command that starts it again.

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Failure, formatFailureOf, type Format } from './failure.ts'
import { note } from './output.ts'

export interface DevNode {
  readonly node: string
  readonly child: ChildProcess
  /** Resolves with what the node said when it served; undefined when it ended first. */
  readonly ready: Promise<{ readonly url: string } | undefined>
  /** Resolves once it has ended and everything about that was said. */
  readonly ended: Promise<void>
}

/** Options that `npm start` gives the process too. */
const nodeFlags = ['--initial-old-space-size=256']

/** Starts the node; `stopping` says that its end is no news. */
export function startNode(
  node: string,
  settings: Readonly<Record<string, string>>,
  format: Format,
  stopping: () => boolean,
): DevNode {
  const script = fileURLToPath(new URL('../../../broker/cli/logloom.cjs', import.meta.url))
  const args = [...nodeFlags, script, 'start', '--format', 'json', ...flagsOf(settings)]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Ctrl-C in the terminal goes to the whole group: only this process is to act on it.
    detached: true,
  })
  let failure: Failure | undefined
  let url: string | undefined
  createInterface({ input: child.stderr }).on('line', line => {
    failure = failureIn(line) ?? failure
    if (failureIn(line) === undefined) note(marked(node, line))
  })
  const line = new Promise<{ url: string }>(done => {
    createInterface({ input: child.stdout }).once('line', text => {
      const said = JSON.parse(text) as { url: string }
      url = said.url
      done(said)
    })
  })
  const ended = new Promise<void>(done =>
    // After the last line of stderr.
    child.once('close', (code, signal) => {
      if (!stopping()) {
        // Where it was, clients look for it.
        const port = url === undefined ? settings['port'] : new URL(url).port
        const again = commandOf({ ...settings, port: port ?? '0' })
        note(endText(node, child.pid, signal ?? `exit code ${code}`, failure, again, format))
      }
      done()
    }),
  )
  return { node, child, ready: Promise.race([line, ended.then(() => undefined)]), ended }
}

function endText(
  node: string,
  pid: number | undefined,
  how: string,
  failure: Failure | undefined,
  again: string,
  format: Format,
): string {
  if (format === 'json')
    return `${JSON.stringify({ event: 'ended', node, pid, how, restart: again, ...(failure === undefined ? {} : { error: failure }) })}\n`
  const why = failure === undefined ? '' : formatFailureOf(failure, `node ${node}`)
  return `${why}node ${node} (pid ${pid}) ended with ${how}; start it again with\n  ${again}\n`
}

/** The error that a process ended with, if the line is one. */
function failureIn(line: string): Failure | undefined {
  if (!line.startsWith('{"error":{')) return undefined
  try {
    return (JSON.parse(line) as { error: Failure }).error
  } catch {
    return undefined
  }
}

/** JSON stays JSON; `node` is taken, by the nodes that a line is about. */
function marked(node: string, line: string): string {
  return line.startsWith('{') ? `{"self":"${node}",${line.slice(1)}\n` : `${node}: ${line}\n`
}

function flagsOf(settings: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value])
}

/** As a shell takes it, with the program that runs now. */
function commandOf(settings: Readonly<Record<string, string>>): string {
  const [node = 'node', script = 'logloom'] = process.argv
  const program = script.endsWith('.cjs') ? [node, script] : [script]
  return [...program, 'start', ...flagsOf(settings)].map(quoted).join(' ')
}

function quoted(text: string): string {
  return /^[\w./:=,@+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

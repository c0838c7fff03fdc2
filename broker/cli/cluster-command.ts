// `logloom cluster …`: what the nodes of a cluster are doing, and which nodes there are.

import type { Command } from 'commander'
import { withBroker } from './broker-client.ts'
import { sayStale } from './log-command.ts'
import { examples, type GlobalOptions, globalsOf } from './options.ts'
import { writeJson, writeText } from './output.ts'
import { formatTable } from './table.ts'

/** Adds the command and its verbs. */
export function addClusterCommand(program: Command): void {
  const cluster = program
    .command('cluster')
    .description('describe, add and remove the nodes of the cluster')
  cluster
    .command('describe')
    .description('show the nodes, as the answering broker sees them, and where the log is placed')
    .addHelpText(
      'after',
      examples('logloom cluster describe', 'logloom cluster describe --format json'),
    )
    .action((_, command: Command) => describe(globalsOf(command)))
  cluster
    .command('add')
    .description('let a node in; it becomes a member as soon as it is started with --join')
    .argument('<node>', 'its id, as in --node')
    .argument('<peer-url>', 'ws://HOST:PORT of its listener for nodes')
    .addHelpText('after', examples('logloom cluster add n4 ws://10.0.0.4:5740'))
    .action((node: string, peerUrl: string, _, command: Command) =>
      add(node, peerUrl, globalsOf(command)),
    )
  cluster
    .command('remove')
    .description('take a node out of the cluster, whether it is up or not')
    .argument('<node>', 'as in `logloom cluster describe`')
    .addHelpText('after', examples('logloom cluster remove n4'))
    .action((node: string, _, command: Command) => remove(node, globalsOf(command)))
}

function add(node: string, peerUrl: string, { url, format }: GlobalOptions): Promise<void> {
  return withBroker(url, async client => {
    await client.admin().addNode(node, peerUrl)
    if (format === 'json') await writeJson({ node, peerUrl })
    else
      await writeText(
        `${node} may join: start it with --join, and the same secret and cluster id\n`,
      )
  })
}

function remove(node: string, { url, format }: GlobalOptions): Promise<void> {
  return withBroker(url, async client => {
    await client.admin().removeNode(node)
    if (format === 'json') await writeJson({ node })
    else await writeText(`${node} is no member any more; stop it if it runs\n`)
  })
}

function describe({ url, format }: GlobalOptions): Promise<void> {
  return withBroker(url, async client => {
    const { nodes, lostCopies = [] } = await client.admin().describeCluster()
    const log = await client.admin().describeLog()
    sayStale(log, { url, format })
    const { segments } = log
    const last = segments.at(-1)
    const placement = last?.placement ?? []
    if (format === 'json') {
      await writeJson({ nodes, segment: last?.index ?? null, placement, lostCopies })
      return
    }
    if (nodes.length === 0) {
      await writeText('this broker is alone: it has no cluster\n')
      return
    }
    const rows = nodes.map(node => {
      const sequences = placement.filter(text => text.startsWith(`${node.node}@`)).length
      const stores = placement.filter(text => serversOf(text).includes(node.node)).length
      return [
        node.node + (node.self ? ' *' : ''),
        node.joining ? 'joining' : node.up ? 'up' : 'down',
        node.url ?? null,
        node.version ?? null,
        sequences,
        stores,
      ]
    })
    const header = ['NODE', 'STATE', 'CLIENTS', 'VERSION', 'SEQUENCERS', 'COPIES']
    await writeText(formatTable(header, rows))
    if (lostCopies.length === 0) return
    const lost = lostCopies.map(({ index, copies, wanted, gone }) => [
      index,
      `${copies} of ${wanted}`,
      gone.join(', '),
    ])
    await writeText(`\n${formatTable(['SEGMENT', 'COPIES', 'GONE WITH'], lost)}`)
  })
}

/** Of `sequencer@incarnation;server@store,server@store`. */
function serversOf(placement: string): readonly string[] {
  const [, servers = ''] = placement.split(';')
  return servers.split(',').map(server => server.split('@')[0] ?? '')
}

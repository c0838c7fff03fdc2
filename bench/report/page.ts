// docs/benchmarks.md and its plots, made of the results alone: no number in it is written by hand, and the same results give the same page.

import type { Run, StoredResult } from '../results.ts'
import { type Group, groups, type Headline, type Scenario, type Section } from '../scenario.ts'

export interface Page {
  readonly markdown: string
  /** By file name, for the directory `benchmarks` beside the page. */
  readonly plots: ReadonlyMap<string, string>
}

const titles: Readonly<Record<Group, string>> = {
  switch: 'A switch of the log, under load',
  paper: "The paper's figures",
  limits: 'The limits of the machine',
  peers: 'Beside other brokers',
  scale: 'Scale',
}

const intros: Readonly<Record<Group, string>> = {
  switch: '',
  paper:
    'Logloom follows "Virtual Consensus in Delos" (OSDI 2020). Its figures come from production clusters; those here from one machine that plays all nodes. The ratios are what may be compared, not the absolute numbers, and where something had to be emulated the text says what.',
  limits:
    'What the hardware and Node can do without a broker, and which share of it the broker reaches. The *bare loop* is the least that a durable broker has to do: take a WebSocket frame, append it to a file, sync (one sync for all that arrived meanwhile), reply. It decodes nothing, checks nothing and remembers nothing.',
  peers: '',
  scale: '',
}

export function benchmarksPage(
  scenarios: readonly Scenario[],
  results: ReadonlyMap<string, StoredResult>,
): Page {
  const newest = newestRun(results)
  const plots = new Map<string, string>()
  const headlines: Headline[] = []
  const chapters: string[] = []
  for (const group of groups) {
    const sections: string[] = []
    for (const scenario of scenarios.filter(s => s.group === group)) {
      const stored = results.get(scenario.name)
      const section = sectionOf(scenario, stored)
      const { body, plots: drawn } = section
      headlines.push(...section.headlines)
      for (const { name, svg } of drawn) plots.set(`${scenario.name}-${name}.svg`, svg)
      sections.push(
        [
          `### ${scenario.title}`,
          scenario.shows,
          notesOf(scenario, stored, newest),
          withPlots(scenario.name, { body, plots: drawn, headlines: [] }),
        ]
          .filter(part => part !== '')
          .join('\n\n'),
      )
    }
    const parts = [`## ${titles[group]}`, intros[group], ...sections]
    if (sections.length > 0) chapters.push(parts.filter(part => part !== '').join('\n\n'))
  }
  const top = [
    '# Benchmarks',
    '<!-- Made by bench/main.ts of bench/results/*.json: do not edit. -->',
    headOf(newest),
    ...(headlines.length === 0 ? [] : ['## In short', headlineTable(headlines)]),
    howTo,
  ]
  return { markdown: `${[...top, ...chapters].join('\n\n')}\n`, plots }
}

const howTo = `## How it was measured

- All sides of a comparison run in the same minutes, one after the other, again and again (*rounds*; at least five). A figure is the median of its rounds, with the least and the most of them
  in brackets; in plots these are the ends of the whiskers. A ratio is the median of the ratios of each round, so what slows a whole round down (somebody else on the machine) favours nobody.
- Unless a row says otherwise, a record is acked only after it was synced to disk (\`fdatasync\`). Rows without a sync are named so.
- Clients, brokers and all nodes of a cluster share the machine's cores and its one disk. More machines would do more; that is not measured here.
- MB is 10⁶ bytes and counts the values of records, not what surrounds them. Latency is from the moment at which a record was due (where the load has a rate) or sent, until its ack.
- \`npm run bench\` makes all of this in a quarter of an hour, \`npm run bench:full\` with more rounds and larger sizes; \`npm run bench -- --only peers\` a part of it, and the page is made anew of all
  results there are. \`npm run bench -- --list\` says what there is. For a cluster of your own there is [\`logloom bench\`](cli.md).`

function headOf(run: Run | undefined): string {
  if (run === undefined) return 'Nothing has been measured yet: `npm run bench` does it.'
  const { cpu, memoryGb, system, node, fileSystem } = run.machine
  return [
    'What Logloom does on one small machine: how a switch of its log feels to clients, how it compares with the paper that it follows, with what the machine can do at all, and with other brokers on the',
    'same disk in the same minutes; and what its costs grow with.\n',
    `**Machine:** ${cpu}, ${memoryGb} GB of memory, ${system}; data on ${fileSystem}. **Node** ${node}.`,
    `**Code:** ${run.commit}. **Command:** \`${run.command}\`, ${dateOf(run)}. Sections that were measured otherwise say so.`,
  ].join('\n')
}

function headlineTable(headlines: readonly Headline[]): string {
  const rows = headlines.map(({ what, value, beside }) => `| ${what} | **${value}** | ${beside} |`)
  return ['| | measured | to be held against |', '|---|---|---|', ...rows].join('\n')
}

function sectionOf(scenario: Scenario, stored: StoredResult | undefined): Section {
  const measured = stored?.measured
  if (measured === undefined) return { body: '', plots: [], headlines: [] }
  try {
    return scenario.section(measured.result, measured.params)
  } catch {
    const body = `**Not shown:** its result was written by another version of the benchmark; \`npm run bench -- --only ${scenario.name}\` measures it again.`
    return { body, plots: [], headlines: [] }
  }
}

/** What a reader has to know about where these figures come from, when it is not what the head of the page says. */
function notesOf(
  { name }: Scenario,
  stored: StoredResult | undefined,
  newest: Run | undefined,
): string {
  if (stored === undefined) return `**Not run.** \`npm run bench -- --only ${name}\` measures it.`
  const { outcome, measured } = stored
  const notes: string[] = []
  if (outcome.kind !== 'ok')
    notes.push(
      `**${outcome.kind === 'failed' ? 'Failed' : 'Not run'}** (${dateOf(outcome.run)}, ${outcome.run.commit}): ${oneLine(outcome.reason)}`,
    )
  if (measured === undefined) return notes.join('\n\n')
  const { run, mode } = measured
  if (newest !== undefined && isOlder(run, newest))
    notes.push(
      `*Measured earlier than the rest: ${dateOf(run)} at ${run.commit} with \`${run.command}\`, Node ${run.machine.node}, ${run.machine.cpu}.*`,
    )
  if (mode === 'tiny')
    notes.push('**Made with the parameters of the tests: these figures mean nothing.**')
  return notes.join('\n\n')
}

function withPlots(name: string, { body, plots }: Section): string {
  return plots.reduce(
    (text, plot) =>
      text.replace(`{plot:${plot.name}}`, `![${plot.alt}](benchmarks/${name}-${plot.name}.svg)`),
    body,
  )
}

function newestRun(results: ReadonlyMap<string, StoredResult>): Run | undefined {
  const runs = [...results.values()].flatMap(({ measured }) =>
    measured === undefined ? [] : [measured.run],
  )
  return runs.sort((a, b) => (a.begun < b.begun ? 1 : -1))[0]
}

/** A run that was resumed, or made in parts, is one as long as code and machine are the same. */
function isOlder(run: Run, newest: Run): boolean {
  const apart = Date.parse(newest.begun) - Date.parse(run.begun)
  const isSameMachine = JSON.stringify(run.machine) === JSON.stringify(newest.machine)
  return run.commit !== newest.commit || !isSameMachine || apart > dayMs
}

const dayMs = 86_400_000

const dateOf = ({ begun }: Run): string => `${begun.slice(0, 16).replace('T', ' ')} UTC`

const oneLine = (text: string): string => text.replaceAll(/\s+/g, ' ').slice(0, 400)

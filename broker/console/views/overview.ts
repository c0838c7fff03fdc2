// Is it well, how much goes through it, how long does that take.

import { fill, h, tiles } from '../dom.ts'
import { bytes, count, rough, seconds } from '../format.ts'
import { Plot } from '../plot.ts'
import type { Stats } from '../stats.ts'
import { repeat, type View } from '../view.ts'

export const overviewView: View = context => {
  const { client, main, signal, stats } = context
  const errors = h('div')
  const problems = h('div')
  const numbers = h('div')
  const throughput = throughputPlot(context.stats)
  const latency = latencyPlot(context.stats)
  fill(
    main,
    h('h1', {}, 'Overview'),
    errors,
    problems,
    numbers,
    h(
      'div',
      { class: 'columns' },
      h('section', { class: 'card' }, h('h2', {}, 'Records per second'), throughput.element),
      h('section', { class: 'card' }, h('h2', {}, 'Produce latency'), latency.element),
    ),
  )
  let lag = 0
  let topics = 0
  const show = (): void => {
    const { latest, log, points } = stats
    const last = points.at(-1)
    const open = log?.segments.at(-1)
    throughput.update()
    latency.update()
    fill(
      numbers,
      tiles([
        ['Records in', `${rough(last?.recordsIn ?? 0)}/s`],
        ['Records out', `${rough(last?.recordsOut ?? 0)}/s`],
        ['Bytes in', `${bytes(last?.bytesIn ?? 0)}/s`],
        ['Produce p50', seconds(last?.p50)],
        ['Produce p99', seconds(last?.p99)],
        ['Lag of all groups', rough(lag)],
        ['Topics', count(topics)],
        ['Connections', count(latest?.connections ?? 0)],
        ['Log', open?.spec ?? '–'],
        ['Tail', count(log?.tail ?? 0)],
        ['Memory', bytes(latest?.rssBytes ?? 0)],
        ['Up', seconds((latest?.uptimeMs ?? 0) / 1000)],
      ]),
    )
  }
  const stop = stats.on(show)
  show()
  repeat(context, 3000, errors, async () => {
    const admin = client.admin()
    const [health, groups, names] = await Promise.all([
      admin.health(),
      admin.listGroups(),
      admin.listTopics(),
    ])
    lag = groups.reduce((sum, group) => sum + group.lag, 0)
    topics = names.length
    fill(
      problems,
      health.problems.length > 0 &&
        h(
          'section',
          { class: 'problems', 'aria-label': 'Problems' },
          h('h2', {}, `The broker is ${health.status}`),
          h('ul', {}, ...health.problems.map(problem => h('li', {}, problem))),
        ),
    )
  })
  signal.addEventListener('abort', () => {
    stop()
    throughput.close()
    latency.close()
  })
}

export function throughputPlot(stats: Stats): Plot {
  return new Plot(
    stats,
    'Records in and out per second, of the last five minutes',
    [
      { name: 'in', color: '--blue', value: point => point.recordsIn },
      { name: 'out', color: '--green', value: point => point.recordsOut },
    ],
    { show: rough, least: 10 },
  )
}

function latencyPlot(stats: Stats): Plot {
  return new Plot(
    stats,
    'Produce latency, p50 and p99, of the last five minutes',
    [
      { name: 'p50', color: '--blue', value: point => point.p50 },
      { name: 'p99', color: '--orange', value: point => point.p99 },
    ],
    { show: seconds, least: 0.002 },
  )
}

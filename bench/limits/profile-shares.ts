// What a V8 profile says about where the main thread's time went, in parts that mean something to whoever knows a broker.

import type { Profiler } from 'node:inspector'

/** In the order of the report. */
export const parts = [
  'WebSocket in: read, unmask, join',
  'WebSocket out',
  'CRC-32',
  'msgpack',
  'file calls',
  'garbage collection',
  'gateway',
  'engine',
  'state',
  'state store (LMDB)',
  'loglets',
  'the rest of Node',
] as const
export type Part = (typeof parts)[number]

/** Functions of V8 and Node without a file, by name. */
const natives: Readonly<Record<string, Part>> = {
  '(garbage collector)': 'garbage collection',
  writev: 'WebSocket out',
  writeBuffer: 'WebSocket out',
  writeBuffers: 'file calls',
  fdatasync: 'file calls',
  open: 'file calls',
  crc32: 'CRC-32',
}

/** Where code lies, the first that fits. Both the sources of a checkout and what was built of them. */
const places: readonly (readonly [RegExp, Part])[] = [
  [/node_modules\/ws\/lib\/sender|internal\/streams\/(writable|duplex)/, 'WebSocket out'],
  [
    /node_modules\/ws\/|internal\/streams|stream_base_commons|node:net|node:buffer|internal\/buffer/,
    'WebSocket in: read, unmask, join',
  ],
  [/node:zlib|wire\/crc32/, 'CRC-32'],
  [/msgpackr|wire\/(frame|guard|fields)/, 'msgpack'],
  [/node:fs|internal\/fs|loglets\/node-disk/, 'file calls'],
  [/node_modules\/lmdb/, 'state store (LMDB)'],
  [/(broker\/gateway|wire)\//, 'gateway'],
  [/broker\/state\//, 'state'],
  [/broker\//, 'engine'],
  [/loglets\//, 'loglets'],
  [/bench\//, 'the rest of Node'],
]

/** Waiting, and the profiler itself. */
const ignored = new Set(['(idle)', 'dispatch'])

/** Seconds of each part, idle time left out. */
export function sharesOf(profile: Profiler.Profile): Readonly<Record<Part, number>> {
  const seconds = Object.fromEntries(parts.map(part => [part, 0])) as Record<Part, number>
  const nodes = new Map(profile.nodes.map(node => [node.id, node]))
  const { samples = [], timeDeltas = [] } = profile
  samples.forEach((id, i) => {
    const frame = nodes.get(id)?.callFrame
    if (frame === undefined || ignored.has(frame.functionName)) return
    seconds[partOf(frame)] += Math.max(0, timeDeltas[i] ?? 0) / 1e6
  })
  return seconds
}

function partOf({ functionName, url }: { functionName: string; url: string }): Part {
  // ws reads through a Writable: what V8 inlines into its write is the loop that unmasks.
  if (functionName === 'writeOrBuffer') return 'WebSocket in: read, unmask, join'
  if (url === '') return natives[functionName] ?? 'the rest of Node'
  return places.find(([pattern]) => pattern.test(url))?.[1] ?? 'the rest of Node'
}

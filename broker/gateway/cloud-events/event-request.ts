// What a URL of the CloudEvents endpoint asks for (protocol.md 1.5): `/topics/NAME/events?partition=N&from=…`, with the subprotocol `cloudevents.json` of
// CloudEvents' WebSocket binding. Pure: it does not know whether there is such a topic, or who asks.

import type { IncomingMessage } from 'node:http'
import { LogloomError } from '../../../wire/errors.ts'
import { checkTopicName } from '../../../wire/topic-name.ts'
import type { OffsetSpec } from '../../reader.ts'
import { subprotocol } from '../../security/subprotocol.ts'

export const eventSubprotocol = 'cloudevents.json'

export interface EventRequest {
  readonly topic: string
  /** Undefined: all. */
  readonly partition: number | undefined
  /** Per partition. */
  readonly from: OffsetSpec
}

const path = /^\/topics\/([^/]*)\/events$/
const parameters = ['partition', 'from']
const shownLength = 60

/** Whether the URL is of the endpoint. */
export function isEventPath(url: string): boolean {
  return path.test(pathOf(url))
}

/** What an upgrade asks of the endpoint; undefined for one that asks nothing of it. @throws INVALID_REQUEST, INVALID_TOPIC_NAME */
export function eventRequest({ url = '/', headers }: IncomingMessage): EventRequest | undefined {
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map(name => name.trim())
  const isOffered = offered.includes(eventSubprotocol)
  const found = path.exec(pathOf(url))
  if (found === null) {
    // Whoever offers both means the protocol of this page.
    if (isOffered && !offered.includes(subprotocol))
      throw invalid(
        `${eventSubprotocol} is spoken at /topics/NAME/events, not at ${pathOf(url).slice(0, shownLength)}`,
      )
    return undefined
  }
  if (!isOffered)
    throw invalid(`/topics/NAME/events speaks the subprotocol ${eventSubprotocol}: offer it`)
  const [, topic = ''] = found
  checkTopicName(topic)
  const query = new URLSearchParams(url.slice(pathOf(url).length))
  for (const name of query.keys())
    if (!parameters.includes(name) || query.getAll(name).length > 1)
      throw invalid(
        `parameter ${name.slice(0, shownLength)}: known are ${parameters.join(' and ')}, once each`,
      )
  const given = Object.fromEntries(query)
  return { topic, partition: partitionOf(given['partition']), from: startOf(given['from']) }
}

function partitionOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const partition = uintOf(text)
  if (partition === undefined)
    throw invalid(`partition=${text.slice(0, shownLength)} is no number from 0`)
  return partition
}

/** As `logloom consume -o`. */
function startOf(text = 'end'): OffsetSpec {
  if (text === 'beginning' || text === 'end') return text
  const offset = uintOf(text)
  if (offset !== undefined) return offset
  const last = text.startsWith('-') ? uintOf(text.slice(1)) : undefined
  if (last !== undefined) return { last }
  if (text.startsWith('@')) {
    const time = text.slice(1)
    const timestamp = uintOf(time) ?? Date.parse(time)
    if (Number.isSafeInteger(timestamp) && timestamp >= 0) return { timestamp }
  }
  throw invalid(
    `from=${text.slice(0, shownLength)} must be beginning, end, an offset N, -N for the last N, or @ with an ISO time or milliseconds`,
  )
}

function uintOf(text: string): number | undefined {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(number) ? number : undefined
}

const pathOf = (url: string): string => url.split('?')[0] ?? ''

const invalid = (what: string): LogloomError =>
  new LogloomError('INVALID_REQUEST', `CloudEvents: ${what}`)

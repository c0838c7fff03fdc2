// Asks GET /health of one node or of several, again and again if told to (protocol.md 1.3).
//
// Guarantees: always an answer per node, in the order of the URLs; a node that cannot be reached has the status `unreachable` and says why.

import type * as http from 'node:http'
import { identity, tokenNow } from './identity.ts'

/** The body of `GET /health`; of a node that cannot be reached only status and problems. */
export interface HealthBody {
  readonly status: string
  readonly version?: string
  readonly tail?: number
  readonly applied?: number
  readonly loglet?: string
  readonly problems: readonly string[]
}

export interface HealthReport {
  readonly url: string
  readonly isWell: boolean
  readonly body: HealthBody
}

export interface HealthQuestion {
  /** `ws://` or `wss://`, one or several with commas between them. */
  readonly url: string
  readonly waitMs: number
  /** `degraded` is well enough. */
  readonly serving: boolean
  /** Ends the wait: the last answers count. */
  readonly signal: AbortSignal
}

const askTimeoutMs = 5000
const pauseMs = 100

/** Asks all nodes until every one is well or the wait is over; the last answers count. */
export async function waitForHealth(question: HealthQuestion): Promise<readonly HealthReport[]> {
  const { url, waitMs, serving, signal } = question
  const urls = url.split(',')
  const deadlineMs = performance.now() + waitMs
  for (;;) {
    const reports = await Promise.all(urls.map(each => ask(each, serving, signal)))
    const isOver = signal.aborted || performance.now() + pauseMs > deadlineMs
    if (isOver || reports.every(({ isWell }) => isWell)) return reports
    await new Promise(resolve => setTimeout(resolve, pauseMs))
  }
}

async function ask(url: string, serving: boolean, signal: AbortSignal): Promise<HealthReport> {
  const address = new URL('/health', url.replace(/^ws/, 'http'))
  try {
    const { status, text } = await get(address, signal)
    const body = bodyOf(status, text)
    const isWell = status === 200 && (body.status === 'ok' || serving)
    return { url, isWell, body }
  } catch (error) {
    const why = error instanceof Error ? error.message || String(error) : String(error)
    const problems = [`${address.host}: ${why}`]
    return { url, isWell: false, body: { status: 'unreachable', problems } }
  }
}

function bodyOf(status: number, text: string): HealthBody {
  try {
    const body = JSON.parse(text) as HealthBody & { problems?: readonly string[] }
    // Whoever does not say who they are is told no more than the status.
    if (typeof body.status === 'string') return { ...body, problems: body.problems ?? [] }
  } catch {
    // Told below.
  }
  throw new Error(
    `no broker answers here, but HTTP ${status}: ${text.trim().slice(0, 200)}; is it another port of the node?`,
  )
}

async function get(address: URL, signal: AbortSignal): Promise<{ status: number; text: string }> {
  const { request }: typeof http = await import(
    address.protocol === 'https:' ? 'node:https' : 'node:http'
  )
  return new Promise((resolve, reject) => {
    const token = tokenNow()
    const options = {
      timeout: askTimeoutMs,
      agent: false,
      signal,
      ...identity().tls,
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    }
    const call = request(address, options, reply => {
      let text = ''
      reply.setEncoding('utf8')
      reply.on('data', (piece: string) => {
        text += piece
      })
      reply.on('end', () => resolve({ status: reply.statusCode ?? 0, text }))
      reply.on('error', reject)
    })
    call.on('timeout', () => call.destroy(new Error(`no answer within ${askTimeoutMs} ms`)))
    call.on('error', reject)
    call.end()
  })
}

// Asks GET /health, again and again if told to (protocol.md 1.3).
//
// Guarantees: always an answer; a broker that cannot be reached has the status `unreachable` and says why.

import type * as http from 'node:http'
import { UsageError } from './exit-codes.ts'

/** The body of `GET /health`; of an unreachable broker only status and problems. */
export interface HealthBody {
  readonly status: string
  readonly version?: string
  readonly tail?: number
  readonly applied?: number
  readonly loglet?: string
  readonly problems: readonly string[]
}

export interface HealthReport {
  readonly isWell: boolean
  readonly body: HealthBody
}

const askTimeoutMs = 5000
const pauseMs = 100

/** Asks until the broker is well or `waitMs` have passed; the last answer counts. */
export async function waitForHealth(url: string, waitMs: number): Promise<HealthReport> {
  const address = healthUrl(url)
  const deadlineMs = performance.now() + waitMs
  while (true) {
    const report = await ask(address)
    if (report.isWell || performance.now() + pauseMs > deadlineMs) return report
    await new Promise(resolve => setTimeout(resolve, pauseMs))
  }
}

function healthUrl(url: string): URL {
  if (!/^wss?:\/\//.test(url) || !URL.canParse(url)) {
    throw new UsageError(`not a WebSocket URL: ${url}`, 'use --url ws://HOST:5640')
  }
  return new URL('/health', url.replace(/^ws/, 'http'))
}

async function ask(address: URL): Promise<HealthReport> {
  try {
    const { status, text } = await get(address)
    const body = JSON.parse(text) as HealthBody
    if (typeof body.status !== 'string' || !Array.isArray(body.problems)) throw new Error(text)
    return { isWell: status === 200, body }
  } catch (error) {
    const why = error instanceof Error ? error.message || String(error) : String(error)
    return { isWell: false, body: { status: 'unreachable', problems: [`${address.host}: ${why}`] } }
  }
}

async function get(address: URL): Promise<{ status: number; text: string }> {
  const { request }: typeof http = await import(
    address.protocol === 'https:' ? 'node:https' : 'node:http'
  )
  return new Promise((resolve, reject) => {
    const call = request(address, { timeout: askTimeoutMs, agent: false }, reply => {
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

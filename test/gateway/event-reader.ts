// A reader of the CloudEvents endpoint as other people's programs are: a WebSocket that takes text.

import { expect } from 'vitest'
import { type ClientOptions, WebSocket } from 'ws'

export type Event = Readonly<Record<string, unknown>>

export class EventReader {
  readonly ws: WebSocket
  readonly texts: string[] = []
  readonly closed: Promise<readonly [number, string]>
  /** Status and body of an upgrade that was refused. */
  readonly refused: Promise<
    readonly [number | undefined, { error: { code: string; message: string } }]
  >

  constructor(url: string, o: { protocols?: string[]; headers?: ClientOptions['headers'] } = {}) {
    const { protocols = ['cloudevents.json'], headers = {} } = o
    this.ws = new WebSocket(url, protocols, { headers })
    this.ws.on('error', () => {})
    this.ws.on('message', (data, isBinary) => {
      expect(isBinary).toBe(false)
      this.texts.push((data as Buffer).toString())
    })
    this.closed = new Promise(resolve => {
      this.ws.on('close', (code, reason) => resolve([code, reason.toString()]))
    })
    this.refused = new Promise(resolve => {
      this.ws.on('unexpected-response', (_request, response) => {
        let body = ''
        response.on('data', chunk => {
          body += String(chunk)
        })
        response.on('end', () => resolve([response.statusCode, JSON.parse(body) as never]))
      })
    })
  }

  get events(): Event[] {
    return this.texts.map(text => JSON.parse(text) as Event)
  }

  /** Once there are so many. */
  async first(count: number): Promise<Event[]> {
    await expect.poll(() => this.texts.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(count)
    return this.events
  }
}

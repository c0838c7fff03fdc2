// The broker's network face: one HTTP server for WebSocket, /health, /metrics and a page (protocol.md 1.3), and everything that all
// connections share.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { LogloomError } from '../../wire/errors.ts'
import { wireLimits } from '../../wire/limits.ts'
import { peerSubprotocol } from '../../wire/peer-socket.ts'
import {
  createSocketServer,
  type ServerSocket,
  type SocketServer,
  type UpgradeVerdict,
} from '../../wire/server.ts'
import type { Broker } from '../broker.ts'
import type { BrokerLogger } from '../broker-options.ts'
import type { Authenticator } from '../security/authenticator.ts'
import { type Certificate, minVersion } from '../security/certificate.ts'
import { chosenProtocol, offeredToken } from '../security/subprotocol.ts'
import { hasSecret } from '../security/url-secrets.ts'
import { Authorizer } from '../security/authorizer.ts'
import { DenialLog } from '../security/denial-log.ts'
import type { Settings } from '../settings.ts'
import { eventRequest, eventSubprotocol, isEventPath } from './cloud-events/event-request.ts'
import { EventSocket } from './cloud-events/event-socket.ts'
import { Connection } from './connection.ts'
import { type ConsoleFile, consoleHeaders, readConsoleFiles } from './console-files.ts'
import { SnapshotDesk } from '../snapshot/desk.ts'
import type { BrokerAddress, GatewayContext, ClusterChanges, NodeStatus } from './context.ts'
import { Drain } from './drain.ts'
import { bearerOf, httpAccess } from './http-access.ts'
import { LoadControl } from './load/load-control.ts'
import { hostAllowed, type HostRules, originAllowed } from './origin.ts'
import { page, pageHeaders } from './page.ts'
import { Pipelining } from './pipelining.ts'
import { SharedReads } from './shared-reads.ts'
import { count, GatewayStats } from './stats.ts'
import { Timers } from './timers.ts'
import { TopicDirectory } from './topic-directory.ts'

export interface GatewayOptions {
  readonly broker: Broker
  readonly settings: Settings
  readonly version: string
  readonly serverId: string
  readonly logger: BrokerLogger
  /** Prometheus text, under the names of another exporter if that is asked for; the gateway's own counters are in `stats`. */
  readonly metrics: (
    names?: string,
  ) => Promise<{ readonly contentType: string; readonly text: string }>
  readonly stats: GatewayStats
  readonly authenticator: Authenticator
  /** With it the port speaks TLS only. */
  readonly certificate?: Certificate
  /** Brokers of the same log; see {@link GatewayContext}. */
  readonly brokers?: () => readonly BrokerAddress[]
  readonly nodes?: () => readonly NodeStatus[]
  readonly cluster?: ClusterChanges
}

const tickMs = 20
const outputSweepMs = 500
/** Until a TLS handshake is through, ms. */
const tlsHandshakeMsMax = 5000
/** From accept to the last header; also for sockets that never say a word. */
const headersTimeoutMsMax = 4000
const requestTimeoutMsMax = 4500
/** An HTTP connection without a request. */
const keepAliveMsMax = 4000
const httpCheckMs = 500
/** What a client is told that has to come back later. */
const retryAfterSecondsMax = 3
/** Between a change of ACLs and the look at what they end. */
const recheckMs = 50

export class Gateway {
  private readonly options: GatewayOptions
  private readonly context: GatewayContext
  private readonly load: LoadControl
  private readonly rules: HostRules
  private readonly http: Server
  private readonly sockets: SocketServer
  private readonly timers = new Timers(tickMs)
  private readonly pipelining = new Pipelining()
  private readonly denials: DenialLog
  private readonly stopListening: () => void
  private readonly connections = new Set<Connection>()
  private readonly sweeps: ReturnType<typeof setInterval>[] = []
  private draining = false
  private unwatch: () => void = () => {}
  /** Of the ACLs, up to which connections were looked at or are about to be. */
  private lookedAt = -1
  private looksSoon = false
  /** Read when somebody asks for the first. */
  private consoleFiles: ReadonlyMap<string, ConsoleFile> | undefined

  constructor(options: GatewayOptions) {
    const { broker, settings, version, serverId, logger } = options
    this.options = options
    this.rules = settings
    this.load = new LoadControl(settings, broker.security, options.stats)
    this.load.budget.backlog = () => broker.backlogBytes
    options.stats.load = this.load
    this.denials = new DenialLog(logger, (ms, fn) => this.timers.after(ms, fn))
    this.stopListening = broker.security.onChange(this.rightsChanged)
    this.context = {
      broker,
      settings,
      version,
      serverId,
      timers: this.timers,
      stats: options.stats,
      authenticator: options.authenticator,
      topics: new TopicDirectory(broker, settings, name => this.load.accounts.quotaOf(name)),
      reads: new SharedReads(broker),
      snapshots: new SnapshotDesk(() => performance.now()),
      load: this.load,
      brokers: options.brokers ?? (() => []),
      nodes: options.nodes ?? (() => []),
      cluster: options.cluster,
      startedAt: performance.now(),
      connections: () => this.connections,
      authorizer: new Authorizer(broker.security, settings.superUsers),
      onDenied: denial => {
        options.stats.deny(denial.operation, denial.resource)
        this.denials.add(denial)
      },
      onAudit: line => logger.info(line, 'audit'),
      onInternalError: (error, op) =>
        logger.error(
          { op, error: error instanceof Error ? (error.stack ?? error.message) : String(error) },
          'a request failed inside the broker',
        ),
    }
    this.http = serverFor(options.certificate, (request, response) => {
      if (!this.pipelining.enter(request, response)) {
        count(options.stats.rejected, 'LIMIT_EXCEEDED')
        return
      }
      this.handle(request, response).catch(error => {
        this.context.onInternalError(error, 'http')
        response.destroy()
      })
    })
    this.sockets = createSocketServer({
      frameBytesMax: settings.frameBytesMax,
      verify: request => this.verify(request),
      chooseProtocol: (offered, { url = '/' }) =>
        isEventPath(url) ? eventSubprotocol : chosenProtocol(offered),
      onSocket: (socket, request) => this.accept(socket, request),
    })
    this.http.on('upgrade', (request, socket, head) =>
      this.sockets.handleUpgrade(request, socket, head),
    )
    this.http.maxConnections = settings.connectionsMax + settings.strangersMax
    this.http.on('connection', socket => this.load.door.accepted(socket))
    this.http.on('clientError', (_error, socket) => socket.destroy())
  }

  /** Tells every client that the brokers of the log have changed. */
  announceBrokers(): void {
    const brokers = this.context.brokers()
    for (const connection of this.connections) connection.push({ op: 'brokers', brokers })
  }

  /** Binds the port. @throws PORT_IN_USE, INSECURE_PUBLIC_BIND @returns the port that is bound */
  async listen(): Promise<number> {
    const { host, port } = this.options.settings
    await new Promise<void>((resolve, reject) => {
      this.http.once('error', (error: NodeJS.ErrnoException) => {
        reject(
          error.code === 'EADDRINUSE'
            ? new LogloomError(
                'PORT_IN_USE',
                `port ${port} on ${host} is in use`,
                { host, port },
                { cause: error },
              )
            : new LogloomError(
                'INVALID_CONFIG',
                `cannot listen on ${host}:${port}: ${error.message}`,
                { host, port },
                { cause: error },
              ),
        )
      })
      this.http.listen(port, host, () => resolve())
    })
    this.sweep(wireLimits.pingIntervalMs, connection => connection.ping())
    this.sweep(outputSweepMs, connection => connection.checkOutput(performance.now()))
    if (this.options.authenticator.required) this.watchCredentials()
    this.options.stats.bufferedBytes = () =>
      [...this.connections].reduce((sum, connection) => sum + connection.output.bytes, 0)
    return (this.http.address() as AddressInfo).port
  }

  /** What has expired is found by the sweep, what was revoked at once. */
  private watchCredentials(): void {
    this.sweep(outputSweepMs, connection => connection.checkCredential())
    this.unwatch = this.options.broker.security.onChange(() => {
      for (const connection of this.connections) connection.checkCredential()
    })
  }

  /** Takes nothing new, tells everyone, waits for requests in flight, closes; spread over time when there are many (drain.ts). */
  async drain(ms: number): Promise<void> {
    this.draining = true
    this.http.close()
    await new Drain(this.connections, this.options.settings.drainSpreadMs).run(ms)
    for (const interval of this.sweeps) clearInterval(interval)
    this.unwatch()
    this.stopListening()
    this.denials.flush()
    this.timers.close()
    this.load.close()
    this.sockets.close()
    this.http.closeAllConnections()
  }

  private sweep(ms: number, visit: (connection: Connection) => void): void {
    const interval = setInterval(() => {
      for (const connection of this.connections) visit(connection)
    }, ms)
    interval.unref()
    this.sweeps.push(interval)
  }

  private verify(request: IncomingMessage): UpgradeVerdict {
    this.load.door.heard(request.socket)
    const refused =
      this.refusal(request) ??
      refusedNode(request) ??
      refusedEvents(request) ??
      this.crowded(request)
    if (refused !== undefined) {
      const { status, reason = refused.code } = refused
      count(this.options.stats.rejected, reason)
      // Those who were refused together are not to come back together.
      const seconds = 1 + Math.floor(Math.random() * retryAfterSecondsMax)
      return { ok: false, ...refused, ...(status === 503 ? { retryAfterSeconds: seconds } : {}) }
    }
    return { ok: true }
  }

  private crowded(request: IncomingMessage): Refusal | undefined {
    if (this.load.door.mayUpgrade(request.socket)) return undefined
    const { handshakesPerSecondMax } = this.options.settings
    return {
      status: 503,
      code: 'THROTTLED',
      reason: 'HANDSHAKE_RATE',
      message: `more than ${handshakesPerSecondMax} upgrades in a second, or a quarter of that from one address (handshakesPerSecondMax)`,
    }
  }

  private refusal(request: IncomingMessage): Refusal | undefined {
    const { host, origin } = request.headers
    const { connectionsMax } = this.options.settings
    if (!hostAllowed(host, this.rules))
      return {
        status: 421,
        code: 'FORBIDDEN_HOST',
        message: `host ${host ?? '(none)'} is not allowed: add it to allowedHosts`,
      }
    if (!originAllowed(origin, host, this.rules))
      return {
        status: 403,
        code: 'FORBIDDEN_ORIGIN',
        message: `origin ${origin ?? ''} is not allowed: add it to allowedOrigins`,
      }
    if (hasSecret(request.url ?? ''))
      return {
        status: 400,
        code: 'TOKEN_IN_URL',
        message: 'a token in a URL ends up in logs: this one should be replaced',
      }
    if (this.draining)
      return { status: 503, code: 'SHUTTING_DOWN', message: 'the broker is going away' }
    if (this.connections.size >= connectionsMax)
      return {
        status: 503,
        code: 'LIMIT_EXCEEDED',
        message: `${connectionsMax} connections are open (connectionsMax)`,
      }
    return undefined
  }

  private accept(socket: ServerSocket, request: IncomingMessage): void {
    const { stats } = this.options
    const token = offeredToken(request.headers['sec-websocket-protocol'])
    const events = eventRequest(request)
    const reader = events && new EventSocket(socket, events)
    this.connections.add(new Connection(this.context, reader ?? socket, this.forget, token))
    reader?.start(bearerOf(request) ?? token)
    stats.opened++
    stats.connections++
  }

  /** What is under way and not allowed any more ends soon: one look for all changes that come together. */
  private readonly rightsChanged = (): void => {
    const { aclVersion } = this.options.broker.security
    if (aclVersion === this.lookedAt) return
    this.lookedAt = aclVersion
    this.looksSoon ||= this.lookSoon()
  }

  private lookSoon(): true {
    this.timers.after(recheckMs, () => {
      this.looksSoon = false
      for (const connection of this.connections) connection.recheck()
    })
    return true
  }

  private readonly forget = (connection: Connection): void => {
    this.connections.delete(connection)
    this.options.stats.connections--
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.load.door.heard(request.socket)
    const refused = this.refusal(request)
    if (refused !== undefined && refused.status !== 503) {
      count(this.options.stats.rejected, refused.code)
      reply(
        response,
        refused.status,
        'application/json',
        JSON.stringify({ error: { code: refused.code, message: refused.message } }),
      )
      return
    }
    const [path, query = ''] = (request.url ?? '/').split('?')
    if (request.method !== 'GET' && request.method !== 'HEAD')
      reply(response, 405, 'text/plain', 'only GET\n')
    else if (path === '/health') await this.replyHealth(request, response)
    else if (path === '/metrics') {
      const denied = await httpAccess(this.context, request, true)
      if (denied !== undefined) {
        const headers = denied.status === 401 ? { 'www-authenticate': 'Bearer' } : {}
        const { code, message, hint } = denied.error
        const body = JSON.stringify({ error: { code, message, hint } })
        return reply(response, denied.status, 'application/json', body, headers)
      }
      const names = new URLSearchParams(query).get('names')
      if (names !== null && names !== 'kafka_exporter')
        return reply(response, 400, 'text/plain', 'names: only kafka_exporter is known\n')
      const { contentType, text } = await this.options.metrics(names ?? undefined)
      reply(response, 200, contentType, text)
    } else if (isEventPath(path ?? '')) {
      const message = `a WebSocket endpoint: upgrade, with the subprotocol ${eventSubprotocol}`
      const body = JSON.stringify({ error: { code: 'INVALID_REQUEST', message } })
      reply(response, 426, 'application/json', body, { upgrade: 'websocket' })
    } else if (path === '/console') {
      response.writeHead(308, { location: '/console/', 'cache-control': 'no-store' }).end()
    } else if (path?.startsWith('/console/') === true) {
      this.replyConsole(response, path.slice('/console/'.length))
    } else if (path === '/') {
      const { broker, version, authenticator } = this.options
      const shown = authenticator.required ? undefined : { version, health: broker.health() }
      reply(response, 200, 'text/html; charset=utf-8', page(shown), pageHeaders)
    } else reply(response, 404, 'text/plain', 'not found; try /health or /metrics\n')
  }

  private replyConsole(response: ServerResponse, name: string): void {
    this.consoleFiles ??= readConsoleFiles()
    const file = this.consoleFiles.get(name === '' ? 'index.html' : name)
    if (file !== undefined) reply(response, 200, file.contentType, file.content, consoleHeaders)
    else if (this.consoleFiles.size === 0)
      reply(response, 404, 'text/plain', 'the console was not built: npm run build\n')
    else reply(response, 404, 'text/plain', 'no such file of the console; try /console/\n')
  }

  private async replyHealth(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const health = this.options.broker.health()
    const { version } = this.options
    const status = this.draining ? 'unavailable' : health.status
    // A load balancer needs no more; what is wrong is told to those who may know.
    const isStranger =
      bearerOf(request) === undefined
        ? this.options.authenticator.required
        : (await httpAccess(this.context, request)) !== undefined
    const body = JSON.stringify(isStranger ? { status } : { ...health, status, version })
    reply(response, status === 'unavailable' ? 503 : 200, 'application/json', body)
  }
}

/** With a certificate it speaks TLS only: whoever does not is cut. */
function serverFor(
  certificate: Certificate | undefined,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const times = {
    headersTimeout: headersTimeoutMsMax,
    requestTimeout: requestTimeoutMsMax,
    keepAliveTimeout: keepAliveMsMax,
    connectionsCheckingInterval: httpCheckMs,
  }
  if (certificate === undefined) return createServer(times, handle)
  const server = createTlsServer(
    { ...times, ...certificate.current, minVersion, handshakeTimeout: tlsHandshakeMsMax },
    handle,
  )
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  certificate.onChange(() => server.setSecureContext({ ...certificate.current, minVersion }))
  return server
}

interface Refusal {
  readonly status: number
  readonly code: string
  readonly message: string
  /** As it is counted, if not by its code. */
  readonly reason?: string
}

/** What nobody can read as events, whoever asks. */
function refusedEvents(request: IncomingMessage): Refusal | undefined {
  try {
    eventRequest(request)
    return undefined
  } catch (error) {
    const { code, message } = error as LogloomError
    return { status: 400, code, message }
  }
}

/** Nodes have a port of their own. */
function refusedNode(request: IncomingMessage): Refusal | undefined {
  if (request.headers['sec-websocket-protocol'] !== peerSubprotocol) return undefined
  return {
    status: 400,
    code: 'WRONG_PORT',
    message: 'this port is for clients, nodes dial the ports in peers',
  }
}

function reply(
  response: ServerResponse,
  status: number,
  contentType: string,
  body: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, {
    'content-type': contentType,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(body)
}

// Runs a broker until it is told to stop.
//
// Guarantees: one line on stdout once it serves; the first SIGTERM or SIGINT drains and ends with 0, a second one ends at once with 1;
// a fatal error of the broker is one coded error on stderr and exit code 1. Settings are decided by settings.ts.

import { readFileSync } from 'node:fs'
import { LogloomError } from '../../wire/errors.ts'
import { type RunningBroker, startBroker, startLogServer } from '../index.ts'
import { createLogger } from '../logger.ts'
import { environmentName, resolveSettings } from '../settings.ts'
import { exitCodes } from './exit-codes.ts'
import { type Format, formatFailure } from './failure.ts'
import { note, writeJson, writeText } from './output.ts'
import { onStopSignal } from './stop-signal.ts'

const settingsFile = 'logloom.json'

/** Runs `logloom start`; resolves after a graceful stop. @throws PORT_IN_USE, DATA_DIR_LOCKED, INVALID_CONFIG, … */
export async function start(
  flags: Readonly<Record<string, unknown>>,
  format: Format,
): Promise<void> {
  const file = readSettingsFile()
  const resolved = resolveSettings({ flags, env: process.env, file })
  const { data, ...settings } = resolved
  const isDataNamed =
    (flags['data'] ?? process.env[environmentName('data')] ?? file['data']) !== undefined
  const stopped = new Promise<void>(resolve => onStopSignal(() => resolve()))
  const onFatal = (error: Error): void => {
    note(formatFailure(error, format))
    process.exit(exitCodes.error)
  }
  const logger = createLogger(settings.logLevel)
  if (settings.node !== '' && !settings.roles.includes('broker')) {
    const server = await startLogServer({ settings: resolved, logger, onFatal })
    const { url, node } = server
    if (format === 'json')
      await writeJson({ event: 'ready', url, pid: process.pid, data: server.data, node })
    else await writeText(`ready ${url} pid=${process.pid} data=${server.data} node=${node}\n`)
    await stopped
    await server.close()
    return
  }
  const starting = startBroker({
    ...settings,
    // A memory loglet needs a directory only when one is named.
    ...(isDataNamed || !isMemory(settings.loglet) ? { data } : {}),
    logger,
    onFatal,
  })
  // A node may wait long for its cluster, and has nothing to drain before it serves.
  const running = await Promise.race([starting, stopped])
  if (running === undefined) process.exit(exitCodes.ok)
  await announce(running, format)
  // Without certificates a hang-up is what it always was.
  if (resolved.tlsCertFile !== '' || resolved.peerTlsCertFile !== '')
    process.on('SIGHUP', () => running.reloadCertificates())
  await stopped
  await running.close()
}

function isMemory(spec: string): boolean {
  return spec.split(',')[0] === 'memory'
}

function announce(running: RunningBroker, format: Format): Promise<void> {
  const { url, pid, data, loglet } = running
  if (format === 'json') return writeJson({ event: 'ready', url, pid, data, loglet })
  return writeText(`ready ${url} pid=${pid} data=${data} loglet=${loglet}\n`)
}

/** The content of ./logloom.json, or nothing. @throws INVALID_CONFIG when it is not a JSON object */
function readSettingsFile(): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(settingsFile, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>
    }
  } catch (cause) {
    throw notAnObject((cause as Error).message, cause)
  }
  throw notAnObject('it holds another JSON value', undefined)
}

function notAnObject(why: string, cause: unknown): LogloomError {
  const message = `./${settingsFile} is not a JSON object: ${why}`
  return new LogloomError(
    'INVALID_CONFIG',
    message,
    {},
    { cause, hint: 'correct or remove the file' },
  )
}

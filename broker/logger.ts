// Logs: JSON lines on standard error by pino. Values that came from outside lose their control characters, and are never payloads.

import { destination, pino } from 'pino'
import type { BrokerLogger } from './broker-options.ts'

const textMax = 1000
const controlCharacters = /\p{Cc}/gu

/** A logger that writes to standard error. */
export function createLogger(level: string): BrokerLogger {
  const logger = pino({ level, base: { pid: process.pid } }, destination({ fd: 2, sync: true }))
  return {
    info: (fields, message) => logger.info(clean(fields), message),
    warn: (fields, message) => logger.warn(clean(fields), message),
    error: (fields, message) => logger.error(clean(fields), message),
  }
}

export const silentLogger: BrokerLogger = { info: () => {}, warn: () => {}, error: () => {} }

function clean(fields: object): object {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, cleanValue(value)]))
}

function cleanValue(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(controlCharacters, ' ').slice(0, textMax)
  return Array.isArray(value) ? value.map(cleanValue) : value
}

// What `import … from 'logloom'` gives: a broker to embed.

export { Broker } from './broker.ts'
export {
  type RunningLogServer,
  startLogServer,
  type StartLogServerOptions,
} from './cluster/start-log-server.ts'
export type { BrokerLogger } from './broker-options.ts'
export type { BrokerHealth, HealthStatus } from './health.ts'
export { resolveSettings, type Settings, settingsTable } from './settings.ts'
export { type RunningBroker, startBroker, type StartBrokerOptions } from './start-broker.ts'

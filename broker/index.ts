// What `import … from 'logloom'` gives: a broker to embed.

export { Broker, type BrokerHealth, type BrokerLogger } from './broker.ts'
export { resolveSettings, type Settings, settingsTable } from './settings.ts'
export { type RunningBroker, startBroker, type StartBrokerOptions } from './start-broker.ts'

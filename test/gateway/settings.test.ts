// Settings: flag > environment > file > default, and nothing wrong is taken silently.

import { describe, expect, it } from 'vitest'
import {
  environmentName,
  flagName,
  resolveSettings,
  type SettingSources,
  settingsTable,
} from '../../broker/settings.ts'

function refusal(sources: SettingSources): { code: string; message: string; hint: string } {
  try {
    resolveSettings(sources)
  } catch (error) {
    return error as { code: string; message: string; hint: string }
  }
  throw new Error('the settings were accepted')
}

describe('settings', () => {
  it('are the defaults when nobody says otherwise', () => {
    const settings = resolveSettings()
    expect(settings).toMatchObject({
      host: '127.0.0.1',
      port: 5640,
      data: './.logloom',
      loglet: 'striped:2:file',
      numPartitions: 1,
      autoCreateTopicsEnable: true,
      insecurePublic: false,
      allowedHosts: [],
    })
    expect(Object.keys(settings).sort()).toEqual(Object.keys(settingsTable).sort())
  })

  it('come from the flag, else the environment, else the file, else the default', () => {
    const file = { numPartitions: 2, port: 2, drainMs: 2 }
    const env = { LOGLOOM_NUM_PARTITIONS: '3', LOGLOOM_PORT: '3' }
    const flags = { numPartitions: '4' }
    expect(resolveSettings({ flags, env, file })).toMatchObject({
      numPartitions: 4,
      port: 3,
      drainMs: 2,
      appendsInFlightMax: 8,
    })
  })

  it('are named alike everywhere', () => {
    expect(environmentName('slowConsumerMs')).toBe('LOGLOOM_SLOW_CONSUMER_MS')
    expect(flagName('slowConsumerMs')).toBe('slow-consumer-ms')
  })

  it('are read from text', () => {
    const env = {
      LOGLOOM_ALLOWED_HOSTS: 'a.example, b.example:1,',
      LOGLOOM_INSECURE_PUBLIC: 'true',
      LOGLOOM_AUTO_CREATE_TOPICS_ENABLE: '0',
    }
    expect(resolveSettings({ env })).toMatchObject({
      allowedHosts: ['a.example', 'b.example:1'],
      insecurePublic: true,
      autoCreateTopicsEnable: false,
    })
  })

  it('in the file that nobody knows are refused by name', () => {
    expect(refusal({ file: { numPartition: 3 } })).toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('logloom.json: unknown key numPartition'),
    })
    // Names of every object are no settings.
    expect(refusal({ file: { toString: 1 } }).message).toContain('toString')
  })

  const wrong: readonly (readonly [string, SettingSources, RegExp])[] = [
    [
      'text for a number',
      { env: { LOGLOOM_PORT: 'http' } },
      /LOGLOOM_PORT: "http".*whole number from 0 to 65535/,
    ],
    ['a port beyond all ports', { flags: { port: '65536' } }, /--port: "65536".*65535/],
    ['a fraction', { flags: { numPartitions: 1.5 } }, /--num-partitions: 1.5/],
    ['a negative number', { file: { drainMs: -1 } }, /logloom.json: drainMs: -1.*from 0/],
    [
      'nothing at all in flight',
      { flags: { appendsInFlightMax: 0 } },
      /--appends-in-flight-max: 0.*from 1/,
    ],
    ['an empty text for a number', { env: { LOGLOOM_PORT: ' ' } }, /LOGLOOM_PORT/],
    [
      'a number beyond 2^53',
      { flags: { creditBytesMax: '9007199254740993' } },
      /--credit-bytes-max/,
    ],
    ['a word for a switch', { env: { LOGLOOM_INSECURE_PUBLIC: 'maybe' } }, /true or false/],
    ['a number in a list', { file: { allowedHosts: [1] } }, /logloom.json: allowedHosts.*list/],
    ['a number for text', { file: { host: 5 } }, /logloom.json: host: 5 is not text/],
    ['a metastore that is not known', { flags: { metastore: 'etcd' } }, /metastore=etcd/],
  ]

  it.each(wrong)(
    'of the wrong kind are refused by source, value and what is expected: %s',
    (_, sources, message) => {
      const error = refusal(sources)
      expect(error.code).toBe('INVALID_CONFIG')
      expect(error.message).toMatch(message)
      expect(error.hint.length).toBeGreaterThan(5)
    },
  )

  it('that contradict each other are refused, naming both', () => {
    expect(refusal({ flags: { batchBytesMax: 4 << 20 } }).message).toMatch(
      /batchBytesMax=4194304 does not fit frameBytesMax=2097152/,
    )
    expect(refusal({ flags: { outputBytesMax: 100_000 } }).hint).toMatch(
      /raise outputBytesMax to \d+/,
    )
  })
})

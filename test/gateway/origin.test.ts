// Who may talk to the port: every page in the user's browser can dial localhost, and DNS can make a foreign name point here.

import { describe, expect, it } from 'vitest'
import { hostAllowed, isLoopback, originAllowed } from '../../broker/gateway/origin.ts'

const rules = {
  host: '192.168.1.5',
  allowedHosts: ['logs.example.org', 'exact.example.org:8080'],
  allowedOrigins: ['https://app.example.org'],
}

describe('a Host header', () => {
  const allowed = [
    'localhost',
    'localhost:5640',
    'LOCALHOST:5640',
    '127.0.0.1:5640',
    '127.8.9.10',
    '[::1]:5640',
    'page.localhost:5640',
    '192.168.1.5:5640',
    'logs.example.org',
    'logs.example.org:443',
    'exact.example.org:8080',
  ]
  const foreign = [
    undefined,
    '',
    'evil.example.org',
    '127.0.0.1.evil.example.org',
    'localhost.evil.example.org',
    'notlocalhost',
    '192.168.1.6:5640',
    'exact.example.org:8081',
    'user@localhost',
    'localhost:5640:5640',
    'localhost/evil',
    '[::2]:5640',
    '0.0.0.0:5640',
  ]

  it.each(allowed)('of %s is ours', header => expect(hostAllowed(header, rules)).toBe(true))
  it.each(foreign)('of %s is not', header => expect(hostAllowed(header, rules)).toBe(false))
})

describe('an Origin header', () => {
  const own = 'logs.example.org:5640'
  const allowed = [
    undefined,
    'http://logs.example.org:5640',
    'https://app.example.org',
    'http://localhost:3000',
    'http://127.0.0.1:8080',
    'http://[::1]:8080',
  ]
  const foreign = [
    '',
    'null',
    'https://evil.example.org',
    'http://logs.example.org:9999',
    'https://app.example.org.evil.example.org',
    'https://app.example.org:444',
    'http://localhost.evil.example.org',
    'file://',
    'chrome-extension://abcdefgh',
    'ws://localhost:5640',
  ]

  it.each(allowed)('of %s may connect', origin =>
    expect(originAllowed(origin, own, rules)).toBe(true),
  )
  it.each(foreign)('of %s may not', origin => expect(originAllowed(origin, own, rules)).toBe(false))
})

describe('a loopback address', () => {
  it('is one that only this machine can mean', () => {
    expect(['127.0.0.1', '127.255.0.1', '::1', '[::1]', 'localhost'].every(isLoopback)).toBe(true)
    expect(
      ['0.0.0.0', '::', '10.0.0.1', '128.0.0.1', '127.0.0.1.nip.io', ''].some(isLoopback),
    ).toBe(false)
  })
})

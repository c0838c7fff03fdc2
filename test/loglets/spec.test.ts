// The grammar of DESIGN 4.4.

import { describe, expect, it } from 'vitest'
import { LogletSpecError } from '../../loglets/contract.ts'
import { MemoryLogletProvider } from '../../loglets/memory/memory-provider.ts'
import { LogletRegistry } from '../../loglets/registry.ts'
import { formatSpec, leavesOf, parseSpec } from '../../loglets/spec.ts'

const file = { kind: 'file', options: {} }

describe('a loglet spec', () => {
  it.each([
    ['memory', { kind: 'memory', options: {} }],
    ['file,segment.bytes=65536', { kind: 'file', options: { 'segment.bytes': '65536' } }],
    ['striped:4:file', { kind: 'striped', stripes: 4, options: {}, inner: file }],
    [
      'striped:3,servers=shared:native,f=1',
      {
        kind: 'striped',
        stripes: 3,
        options: { servers: 'shared' },
        inner: { kind: 'native', options: { f: '1' } },
      },
    ],
    [
      'striped:2:striped:2:file',
      {
        kind: 'striped',
        stripes: 2,
        options: {},
        inner: { kind: 'striped', stripes: 2, options: {}, inner: file },
      },
    ],
    ['s3://bucket/a:b,c', { kind: 's3', options: {}, address: 'bucket/a:b,c' }],
    [
      'striped:2:nats://h:4222',
      {
        kind: 'striped',
        stripes: 2,
        options: {},
        inner: { kind: 'nats', options: {}, address: 'h:4222' },
      },
    ],
  ])('%s is read and written back', (text, tree) => {
    expect(parseSpec(text)).toEqual(tree)
    expect(formatSpec(parseSpec(text))).toBe(text)
  })

  it.each([
    ['', 'empty'],
    ['striped', 'striped:N:SPEC'],
    ['striped:', 'striped:N:SPEC'],
    ['striped:2', 'striped:N:SPEC'],
    ['striped,2:file', 'striped'],
    ['striped:0:file', '1 to 64'],
    ['striped:65:file', '1 to 64'],
    ['striped:x:file', '1 to 64'],
    ['striped:-1:file', '1 to 64'],
    ['striped:2:', 'not the name'],
    ['striped:2:striped', 'striped:N:SPEC'],
    ['striped:9:striped:8:file', '72 leaves'],
    ['striped:1:striped:1:striped:1:striped:1:striped:1:striped:1:striped:1:file', '7 levels'],
    ['File', 'not the name'],
    ['file:4', 'only striped'],
    ['file,', 'key=value'],
    ['file,a', 'key=value'],
    ['file,=1', 'key=value'],
    ['file,a=', 'key=value'],
    ['file,a=1,a=2', 'twice'],
    ['file,a=b c', 'space'],
    [' file', 'not the name'],
    ['a'.repeat(2000), '1024'],
  ])('"%s" is refused and the remedy named: %s', (text, remedy) => {
    expect(() => parseSpec(text)).toThrow(LogletSpecError)
    expect(() => parseSpec(text)).toThrow(remedy)
  })

  it('counts the leaves of nested stripes', () => {
    expect(leavesOf(parseSpec('striped:8:striped:8:file'))).toBe(64)
  })
})

describe('the registry', () => {
  const registry = new LogletRegistry([new MemoryLogletProvider()])

  it.each([
    ['file', '"file"'],
    ['s3://bucket', '"s3://"'],
    ['memory://x', '"memory://"'],
    ['striped:2:nope', '"nope"'],
    ['memory,size=1', 'no option size'],
    ['striped:2,servers=shared:memory', 'no option servers'],
  ])('refuses %s before anything is made, naming %s', (text, name) => {
    expect(() => registry.validate(text)).toThrow(LogletSpecError)
    expect(() => registry.validate(text)).toThrow(name)
  })

  it('knows what is volatile and how far it reaches', () => {
    expect(registry.volatile('striped:2:memory')).toBe(true)
    expect(registry.scope('striped:2:memory')).toBe('process')
  })

  it('refuses an id that exists and leaves it alone', async () => {
    const first = await registry.create('000001-aaaaaa', 'striped:2:memory')
    await first.append([Uint8Array.of(1)])
    await expect(registry.create('000001-aaaaaa', 'striped:2:memory')).rejects.toMatchObject({
      code: 'LOGLET_EXISTS',
    })
    const again = await registry.open('000001-aaaaaa', 'striped:2:memory')
    expect(await again.checkTail()).toEqual({ tail: 1, sealed: false })
  })

  it('removes every leaf, any number of times', async () => {
    const loglet = await registry.create('000002-aaaaaa', 'striped:2:striped:2:memory')
    await loglet.close()
    await registry.remove('000002-aaaaaa', 'striped:2:striped:2:memory')
    await registry.remove('000002-aaaaaa', 'striped:2:striped:2:memory')
    for (const leaf of ['0.0', '0.1', '1.0', '1.1'])
      await expect(registry.open(`000002-aaaaaa.${leaf}`, 'memory')).rejects.toMatchObject({
        code: 'LOGLET_LOST',
      })
  })
})

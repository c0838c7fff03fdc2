// Whose a data directory is: fixed at the first start, compared at every later one, before anything is touched.

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Membership, noCluster } from '../../broker/cluster/cluster-file.ts'
import { openDataDirectory } from '../../broker/data-directory.ts'
import { startBroker } from '../../broker/index.ts'
import { failureOf } from './net-contract.ts'

let path = ''

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'logloom-cluster-'))
})

afterEach(() => rmSync(path, { recursive: true, force: true }))

const memberA: Membership = { clusterId: 'c1', nodeId: 'a' }

/** Every file with its content. */
function content(): Record<string, string> {
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).sort()
  return Object.fromEntries(
    names.map(name => {
      try {
        return [name, readFileSync(join(path, name), 'hex')]
      } catch {
        return [name, 'a directory']
      }
    }),
  )
}

function open(membership?: Membership): { nodeId: string; clusterId: string | undefined } {
  const directory = openDataDirectory(path, membership)
  directory.release()
  const { nodeId, clusterId } = directory
  return { nodeId, clusterId }
}

function refusal(membership: Membership): { code: string; message: string; details: object } {
  const before = content()
  try {
    open(membership)
  } catch (error) {
    expect(content()).toEqual(before)
    return error as { code: string; message: string; details: object }
  }
  throw new Error('opened, but should have been refused')
}

describe('a data directory', () => {
  it('is made for a node of a cluster, and opened again for it', () => {
    expect(open(memberA)).toEqual({ nodeId: 'a', clusterId: 'c1' })
    expect(JSON.parse(readFileSync(join(path, 'cluster.json'), 'utf8'))).toMatchObject(memberA)
    expect(open(memberA)).toEqual(memberA)
    expect(open({ clusterId: 'c1', nodeId: undefined })).toEqual(memberA)
  })

  it.each([
    ['another node', { clusterId: 'c1', nodeId: 'b' }, 'node b of cluster c1'],
    ['another cluster', { clusterId: 'c2', nodeId: 'a' }, 'node a of cluster c2'],
    ['a broker without a cluster', noCluster, 'a node without a cluster'],
  ])('is refused to %s, and left as it was', (_whom, membership, name) => {
    open(memberA)
    expect(refusal(membership)).toMatchObject({
      code: 'DATA_DIR_FOREIGN',
      message: expect.stringContaining(`belongs to node a of cluster c1, this is ${name}`),
      details: { path, actual: 'node a of cluster c1', expected: name },
    })
    expect(open(memberA)).toEqual(memberA)
  })

  it('of a broker without a cluster is refused to a cluster', () => {
    const { nodeId } = open(noCluster)
    expect(refusal({ clusterId: 'c1', nodeId })).toMatchObject({ code: 'DATA_DIR_FOREIGN' })
    expect(open(noCluster)).toEqual({ nodeId, clusterId: undefined })
  })

  it('of any owner may be looked into', () => {
    open(memberA)
    expect(open()).toEqual(memberA)
  })

  it('of an earlier version, which has a node id only, belongs to no cluster', () => {
    writeFileSync(join(path, 'cluster.json'), '{"nodeId":"n-0123abcd"}\n')
    expect(open(noCluster)).toEqual({ nodeId: 'n-0123abcd', clusterId: undefined })
  })

  it('that has content but nothing that says whose it is, is refused', () => {
    mkdirSync(join(path, 'loglets'))
    writeFileSync(join(path, 'VERSION'), '1\n')
    expect(refusal(memberA)).toMatchObject({
      code: 'DATA_DIR_FOREIGN',
      message: expect.stringContaining('has loglets but no cluster.json'),
    })
  })

  it.each(['', '{', '[]', 'null', '{}', '{"nodeId":"A B"}', '{"nodeId":"a","clusterId":7}'])(
    'whose cluster.json is %j is refused',
    text => {
      writeFileSync(join(path, 'VERSION'), '1\n')
      writeFileSync(join(path, 'cluster.json'), text)
      expect(refusal(memberA)).toMatchObject({ code: 'DATA_DIR_FOREIGN' })
    },
  )

  it.each([
    ['nodeId', { clusterId: 'c1', nodeId: 'Not a node' }],
    ['clusterId', { clusterId: 'not a name', nodeId: 'a' }],
  ])('is not made for a wrong %s', (key, membership) => {
    expect(() => open(membership)).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', details: { key } }),
    )
    expect(readdirSync(path)).not.toContain('cluster.json')
  })

  it('of a cluster is not opened by a broker that was started without one', async () => {
    open(memberA)
    const before = content()
    const error = await failureOf(startBroker({ data: path, port: 0 }))
    expect(error).toMatchObject({ code: 'DATA_DIR_FOREIGN' })
    expect(content()).toEqual(before)
  })
})

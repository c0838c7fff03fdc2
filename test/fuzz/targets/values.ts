// Small values that are stored or sent between nodes: the chain, the register's file, what peers say (loglets/chain.ts, metastore, native/messages.ts,
// broker/cluster). Rules: one class of errors for each; a chain that is taken is written and read as the same.

import {
  type Identity,
  challengeFrame,
  checkHello,
  checkWelcome,
  helloFrame,
  readChallenge,
} from '../../../broker/cluster/handshake.ts'
import { packCall, packError, packReply, readError } from '../../../broker/cluster/messages.ts'
import { peerGuardLimits } from '../../../broker/cluster/peer-limits.ts'
import { loadPeers } from '../../../broker/cluster/peer-list.ts'
import { decodeChain, encodeChain, extend, firstChain, modify } from '../../../loglets/chain.ts'
import { lsn } from '../../../loglets/contract.ts'
import { FileMetaStore } from '../../../loglets/metastore/file.ts'
import {
  ballotMessage,
  ballotOf,
  recordMessage,
  recordOf,
} from '../../../loglets/metastore/paxos/record.ts'
import * as native from '../../../loglets/native/messages.ts'
import type { Message } from '../../../loglets/net.ts'
import { crc32 } from '../../../wire/crc32.ts'
import { type Frame, packFrame, unpackFrame } from '../../../wire/frame.ts'
import { SimDisk } from '../../simulation/sim-disk.ts'
import { must, refusedWith, type Target } from '../target.ts'
import { frameFrom } from './frames.ts'

const chainInvalid = new Set(['CHAIN_INVALID'])
const corrupt = new Set(['METASTORE_CORRUPT'])
const peerCodes = new Set([
  'BAD_FRAME', 'INVALID_REQUEST', 'INVALID_REPLY', 'NUMBER_OUT_OF_RANGE', 'PEER_PROTOCOL', 'PEER_CLUSTER', 'PEER_SECRET', 'PEER_MISDIRECTED',
]) // biome-ignore format: a list
const text = new TextEncoder()

const chain = extend(
  extend(firstChain({ id: 'a', spec: 'file', createdAt: 5, reason: 'first' }), 0, lsn(10), {
    id: 'b',
    spec: 'striped:2:native',
    placement: ['n1,n2', 'n2,n3'],
  }),
  1,
  lsn(25),
  { id: 'c', spec: 'memory' },
)
const holed = modify(chain, 0, 'a', {
  id: 'd',
  spec: 'file',
  holes: [{ gap: 'filler', from: lsn(2), to: lsn(4) }],
})

export const chains: Target = {
  name: 'chains',
  seeds: () => [
    encodeChain(chain),
    encodeChain(holed),
    text.encode('{"format":1}'),
    text.encode('{"format":1,"version":1,"segments":[{"__proto__":{"index":0}}]}'),
  ],
  run: input => {
    try {
      const found = decodeChain(input)
      const again = decodeChain(encodeChain(found))
      must(JSON.stringify(again) === JSON.stringify(found), 'written again it reads as another')
      return true
    } catch (error) {
      return refusedWith(error, chainInvalid)
    }
  },
}

/** The register's file, a note, and the list of peers: which one, the first byte says. */
export const metastore: Target = {
  name: 'metastore',
  seeds: async () => [
    Uint8Array.of(0, ...(await register())),
    Uint8Array.of(1, ...text.encode('{"format":1,"note":{"id":"x","spec":"file"}}')),
    Uint8Array.of(2, ...text.encode('{"peers":{"n1":"ws://127.0.0.1:1"},"joining":["n1"]}')),
  ],
  reseal: (input, random) => {
    if (input[0] !== 0 || input.length < 25) return
    const bytes = input.subarray(1)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    if (!random.oneIn(4)) view.setUint32(16, bytes.length - 24)
    view.setUint32(20, crc32(bytes.subarray(24), crc32(bytes.subarray(0, 20))))
  },
  run: async input => {
    const disk = new SimDisk()
    await disk.mkdir('metastore/notes')
    const kind = (input[0] ?? 0) % 3
    const path = ['metastore/register', 'metastore/notes/x.json', 'metastore/peers.json'][
      kind
    ] as string
    const file = await disk.open(path, { create: true })
    await file.write([input.slice(1)], 0)
    await file.datasync()
    await file.close()
    const store = new FileMetaStore({ disk, dir: 'metastore' })
    try {
      if (kind === 0) {
        const { version } = await store.read()
        must(Number.isSafeInteger(version) && version >= 0, `version ${version}`)
      } else if (kind === 1) await store.notes.list()
      else checkPeers(await loadPeers(disk))
      return true
    } catch (error) {
      return refusedWith(error, corrupt)
    }
  },
}

function checkPeers(stored: Awaited<ReturnType<typeof loadPeers>>): void {
  const urls = Object.values(stored?.peers ?? {})
  must(
    stored !== undefined && urls.every(url => typeof url === 'string'),
    'the peers are no addresses',
  )
  must(
    Array.isArray(stored.joining) && stored.joining.every(node => typeof node === 'string'),
    'those who join are no nodes',
  )
}

const me: Identity = {
  clusterId: 'c',
  secret: 'a secret that is long enough',
  node: 'n1',
  incarnation: 'i1',
  protocols: { min: 1, max: 1 },
  version: '0.1.0',
  birth: () => undefined,
}
const nonce = 'ab'.repeat(32)
const other = { ...me, node: 'n2', incarnation: 'i2' }
const record = {
  instance: 3,
  version: 2,
  value: Uint8Array.of(1, 2),
  members: ['n1', 'n2@s'],
  id: 'x',
  birth: 'b',
}
const readers: readonly ((body: Message) => unknown)[] = [
  body => recordOf(body.record),
  body => ballotOf(body.ballot),
  body => native.stateOf(body),
  body => native.count(body, 'at'),
  body => native.text(body, 'store'),
  body => native.list(body, 'entries').map(native.entryOf),
  body => checkItems(native.itemsOf(native.list(body, 'items'), 0, 50)),
  body => native.slicesOf(native.list(body, 'slices')),
]

export const peers: Target = {
  name: 'peers',
  bytesMax: 8192,
  seeds: () => [
    packFrame(challengeFrame(nonce)),
    packFrame(helloFrame(other, 'n1', nonce, nonce)),
    packFrame(checkHello(me, helloFrame(other, 'n1', nonce, nonce), nonce).welcome),
    packCall(1, 'log.store', {
      store: 's',
      at: 4,
      incarnation: 'i',
      entries: [[Uint8Array.of(1)], []],
      knownTail: 3,
    }),
    packReply(2, 'log.read', {
      items: [
        [0, Uint8Array.of(1, 2)],
        [1, 4, 'filler'],
      ],
      knownTail: 9,
    }),
    packReply(3, 'log.tail', { tail: 5, sealed: false, knownTail: 5, trimmed: 0 }),
    packReply(4, 'log.slices', { slices: [Uint8Array.of(1), 'lost'] }),
    packCall(5, 'paxos.accept', {
      record: recordMessage(record),
      ballot: ballotMessage({ round: 4, by: 'n1/i' }),
    }),
    packError(6, { code: 'LOGLET_SEALED', message: 'sealed' }),
  ],
  generate: frameFrom,
  run: input => {
    let frame: Frame
    try {
      frame = unpackFrame(input, peerGuardLimits)
    } catch (error) {
      return refusedWith(error, peerCodes)
    }
    const { body } = frame
    const error = readError(frame)
    must(error === undefined || typeof error.code === 'string', 'an error without a code')
    const isMap = typeof body === 'object' && body !== null && !Array.isArray(body)
    const taken = [
      () => readChallenge(frame),
      () => checkHello(me, frame, nonce),
      () => checkWelcome(me, frame, 'n2', nonce, nonce),
      ...(isMap ? readers.map(read => () => read(body as Message)) : []),
    ].map(read => {
      try {
        read()
        return true
      } catch (thrown) {
        // A refusal that a peer sends is thrown as it came.
        if (frame.op === 'peer-refused') return false
        return refusedWith(thrown, peerCodes)
      }
    })
    return taken.includes(true)
  },
}

function checkItems(items: ReturnType<typeof native.itemsOf>): void {
  let at = 0
  for (const item of items) {
    must((item.kind === 'entry' ? item.position : item.from) === at, 'items are not contiguous')
    at = item.kind === 'entry' ? at + 1 : item.to
  }
  must(at <= 50, 'items reach past what was asked for')
}

async function register(): Promise<Uint8Array> {
  const disk = new SimDisk()
  await new FileMetaStore({ disk, dir: 'metastore' }).write(encodeChain(chain), 0)
  return disk.content('metastore/register').slice()
}

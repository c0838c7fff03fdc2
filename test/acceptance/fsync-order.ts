// What kill -9 cannot show, under strace: no success reply leaves before the fdatasync that covers it returned, and after an injected EIO
// there is no ack, exit code 1, and everything acked before is readable.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect } from '../../client/index.ts'
import { startBrokerProcess, withDirectory } from './broker-process.ts'

export interface FsyncOrderReport {
  readonly requests: number
  /** Replies for which write → fdatasync → reply was seen in this order. */
  readonly covered: number
  readonly violations: readonly string[]
}

/** Sends `requests` records one at a time, so that each reply must be covered by a sync of its own. */
export function fsyncOrder(requests: number, loglet: string): Promise<FsyncOrderReport> {
  return withDirectory(async directory => {
    const trace = join(directory, 'trace')
    const broker = await startBrokerProcess({
      data: join(directory, 'data'),
      args: ['--loglet', loglet],
      wrapper: [
        'strace',
        '-f',
        '-qq',
        '-y',
        '-s',
        '4096',
        '-e',
        'trace=write,writev,pwrite64,pwritev,fdatasync',
        '-o',
        trace,
      ],
    })
    const client = await connect(broker.url)
    const producer = client.producer({ lingerMs: 0 })
    for (let i = 0; i < requests; i++)
      await producer.send('synced', { value: `marker-${i}-end` }, { partition: 0 })
    await client.close()
    await broker.kill('SIGTERM')
    return checkTrace(await readFile(trace, 'utf8'), requests)
  })
}

/**
 * For each marker: the first write of it to a `.log` file, then a finished fdatasync of the same file that began after it, then the
 * first write to a socket after that. A socket write between the marker's write and the sync's end is a violation.
 */
function checkTrace(text: string, requests: number): FsyncOrderReport {
  const calls = parseTrace(text)
  const violations: string[] = []
  let covered = 0
  for (let i = 0; i < requests; i++) {
    const written = calls.findIndex(c => c.isLogWrite && c.text.includes(`marker-${i}-end`))
    if (written < 0) {
      violations.push(`marker ${i} was never written`)
      continue
    }
    const file = calls[written]?.path
    const synced = calls.findIndex(
      (c, at) =>
        at > written &&
        c.name === 'fdatasync' &&
        c.path === file &&
        c.startedAfter > (calls[written]?.endedAt ?? 0) &&
        c.ok,
    )
    if (synced < 0) {
      violations.push(`marker ${i}: no fdatasync of ${file} after its write`)
      continue
    }
    const early = calls
      .slice(written + 1, synced)
      .find(c => c.isSocketWrite && c.startedAfter < (calls[synced]?.endedAt ?? 0))
    const reply = calls.slice(synced + 1).find(c => c.isSocketWrite)
    if (early !== undefined)
      violations.push(
        `marker ${i}: a socket write before its sync ended: ${early.text.slice(0, 120)}`,
      )
    else if (reply === undefined) violations.push(`marker ${i}: no reply after its sync`)
    else covered++
  }
  return { requests, covered, violations }
}

interface Call {
  readonly name: string
  readonly path: string
  readonly text: string
  readonly ok: boolean
  /** Line numbers of the trace at which the call began and ended. */
  readonly startedAfter: number
  readonly endedAt: number
  readonly isLogWrite: boolean
  readonly isSocketWrite: boolean
}

/** Joins `<unfinished ...>` lines with their `resumed` ones; calls in the order in which they ended. */
function parseTrace(text: string): Call[] {
  const open = new Map<string, { head: string; line: number }>()
  const calls: Call[] = []
  text.split('\n').forEach((raw, line) => {
    const match = /^(\d+)\s+(.*)$/.exec(raw)
    if (match === null) return
    const [, pid = '', rest = ''] = match
    if (rest.endsWith('<unfinished ...>')) {
      open.set(pid, { head: rest.slice(0, -'<unfinished ...>'.length), line })
      return
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    const begun = resumed === null ? undefined : open.get(pid)
    const whole = begun === undefined ? rest : begun.head + (resumed?.[1] ?? '')
    const call = /^(\w+)\(\d+<([^>]*)>/.exec(whole)
    if (call === null) return
    const [, name = '', path = ''] = call
    const isWrite = name !== 'fdatasync'
    calls.push({
      name,
      path,
      text: whole,
      ok: !/ = -1 /.test(whole),
      startedAfter: begun?.line ?? line,
      endedAt: line,
      isLogWrite: isWrite && path.endsWith('.log'),
      isSocketWrite: isWrite && path.startsWith('socket:'),
    })
  })
  return calls
}

export interface SyncErrorReport {
  readonly ackedBefore: number
  readonly ackedAfterError: number
  /** From the last ack to the end of the process. */
  readonly stopMs: number
  readonly exitCode: number | string
  readonly readableAfterRestart: number
  readonly missing: number
}

/** Lets the n-th fdatasync fail with EIO while records are sent one at a time; restarts; reads. */
export function syncError(nth: number): Promise<SyncErrorReport> {
  return withDirectory(async directory => {
    const data = join(directory, 'data')
    // One pool thread, since strace counts calls per thread.
    const broker = await startBrokerProcess({
      data,
      args: ['--loglet', 'file'],
      wrapper: [
        'strace',
        '-f',
        '-qq',
        '-e',
        'trace=fdatasync',
        '-e',
        `inject=fdatasync:error=EIO:when=${nth}`,
        '-o',
        '/dev/null',
      ],
      env: { UV_THREADPOOL_SIZE: '1' },
    })
    const client = await connect(broker.url)
    const producer = client.producer({ lingerMs: 0, deliveryTimeoutMs: 3000 })
    const acked: string[] = []
    const end = { gone: false }
    let ackedAfterError = 0
    let lastAck = performance.now()
    let stopMs = Number.NaN
    void broker.exited.then(() => {
      end.gone = true
      stopMs = performance.now() - lastAck
    })
    for (let i = 0; !end.gone && i < nth * 20; i++) {
      try {
        await producer.send('errors', { value: `v${i}` }, { partition: 0 })
        acked.push(`v${i}`)
        lastAck = performance.now()
        if (end.gone) ackedAfterError++
      } catch {
        break
      }
    }
    const exitCode = await broker.exited
    await client.close()
    const again = await startBrokerProcess({ data })
    const reader = await connect(again.url)
    const values = new Set<string>()
    for await (const record of reader.read('errors', {
      from: 'beginning',
      until: 'end',
      as: 'text',
    }))
      values.add(String(record.value))
    await reader.close()
    await again.kill('SIGTERM')
    return {
      ackedBefore: acked.length,
      ackedAfterError,
      stopMs,
      exitCode,
      readableAfterRestart: values.size,
      missing: acked.filter(v => !values.has(v)).length,
    }
  })
}

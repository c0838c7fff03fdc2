// A broker on a directory of its own with small files, and its client: one for each test, started again on the same directory at will.

import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { type RunningBroker, startBroker, type StartBrokerOptions } from '../../broker/index.ts'
import { type Client, connect } from '../../client/index.ts'

export interface FileBroker {
  /** Of the test that runs. */
  readonly broker: () => RunningBroker
  readonly client: () => Client
  readonly start: (options?: Partial<StartBrokerOptions>) => Promise<Client>
  readonly stop: () => Promise<void>
  /** Bytes of the loglets' files. */
  readonly logBytes: () => Promise<number>
}

/** To be called once, at the top of a file. */
export function useFileBroker(settings: Partial<StartBrokerOptions>): FileBroker {
  let broker: RunningBroker | undefined
  let client: Client | undefined
  let directory: string | undefined
  const start = async (options: Partial<StartBrokerOptions> = {}): Promise<Client> => {
    directory ??= await mkdtemp(join(tmpdir(), 'logloom-files-'))
    const own = { data: directory, port: 0, loglet: 'file,segment.bytes=65536' }
    broker = await startBroker({ ...own, ...settings, ...options })
    client = await connect(broker.url)
    return client
  }
  const stop = async (): Promise<void> => {
    await client?.close()
    await broker?.close()
    client = undefined
    broker = undefined
  }
  afterEach(async () => {
    await stop()
    if (directory !== undefined) await rm(directory, { recursive: true, force: true })
    directory = undefined
  })
  return {
    broker: () => broker as RunningBroker,
    client: () => client as Client,
    start,
    stop,
    logBytes: async () => {
      const root = join(directory as string, 'loglets')
      const files = await readdir(root, { recursive: true, withFileTypes: true })
      const sizes = await Promise.all(
        files.flatMap(file =>
          file.name.endsWith('.log')
            ? [stat(join(file.parentPath, file.name)).catch(() => undefined)]
            : [],
        ),
      )
      return sizes.reduce((sum, found) => sum + (found?.size ?? 0), 0)
    },
  }
}

/** Looks until it is so; the test's own limit ends it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 10))
}

// A Prometheus of our own, for as long as a test needs it.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '../cluster/free-port.ts'

export interface Sample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

export class Prometheus {
  private readonly child: ChildProcess
  private readonly url: string

  private constructor(child: ChildProcess, url: string) {
    this.child = child
    this.url = url
  }

  /** Scrapes these `host:port` every second, with these rules. */
  static async start(
    directory: string,
    targets: readonly string[],
    rules: string,
  ): Promise<Prometheus> {
    await mkdir(directory, { recursive: true })
    const config = {
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [rules],
      scrape_configs: [{ job_name: 'logloom', static_configs: [{ targets }] }],
    }
    // JSON is YAML.
    await writeFile(join(directory, 'prometheus.yml'), JSON.stringify(config))
    const port = await freePort()
    const child = spawn(
      'prometheus',
      [
        `--config.file=${join(directory, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=warn',
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    )
    const prometheus = new Prometheus(child, `http://127.0.0.1:${port}`)
    await prometheus.ready()
    return prometheus
  }

  /** Series that an expression gives now. @throws what Prometheus says of a wrong one */
  async query(expr: string): Promise<readonly Sample[]> {
    const reply = await fetch(`${this.url}/api/v1/query?query=${encodeURIComponent(expr)}`)
    const body = (await reply.json()) as {
      readonly status: string
      readonly error?: string
      readonly data: { readonly result: readonly Sample[] }
    }
    if (body.status !== 'success') throw new Error(`${expr}: ${body.error}`)
    return body.data.result
  }

  async close(): Promise<void> {
    const ended = new Promise(resolve => this.child.once('exit', resolve))
    this.child.kill('SIGTERM')
    await ended
  }

  private async ready(): Promise<void> {
    for (;;) {
      if (this.child.exitCode !== null) throw new Error('prometheus ended at once')
      const reply = await fetch(`${this.url}/-/ready`).catch(() => undefined)
      if (reply?.ok === true) return
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
}

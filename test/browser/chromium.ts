// Debian's Chromium, driven by playwright-core, with nothing in it that talks to the network by itself.

import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Page } from 'playwright-core'

/** Debian's place, or LOGLOOM_CHROMIUM. */
export const chromiumPath = process.env['LOGLOOM_CHROMIUM'] ?? '/usr/bin/chromium'
/** False where the browser test cannot run. */
export const hasChromium = existsSync(chromiumPath)

export interface Browser {
  readonly page: Page
  /** What the console showed as errors, and exceptions that nobody caught. */
  readonly errors: string[]
  close(): Promise<void>
}

/** Opens a fresh browser with one page. */
export async function openBrowser(): Promise<Browser> {
  const profile = await mkdtemp(join(tmpdir(), 'logloom-chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: chromiumPath,
    headless: true,
    viewport: { width: 900, height: 600 },
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
  const page = context.pages()[0] ?? (await context.newPage())
  const errors: string[] = []
  page.on('console', message => {
    if (message.type() === 'error') errors.push(message.text())
  })
  page.on('pageerror', error => errors.push(String(error)))
  return {
    page,
    errors,
    close: async () => {
      await context.close()
      await rm(profile, { recursive: true, force: true })
    },
  }
}

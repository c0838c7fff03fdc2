// The SDK in a real browser: the page of examples/browser against a broker that is stopped and started again.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Browser, chromiumPath, hasChromium, openBrowser } from './chromium.ts'
import { type PageServer, servePage } from './page-server.ts'

const isSkipped = !hasChromium && process.env['CI'] !== 'true'

describe('a page in Chromium', () => {
  const cleanUps: (() => unknown)[] = []
  let data: string
  let broker: RunningBroker
  let server: PageServer
  let browser: Browser

  beforeAll(async () => {
    if (isSkipped) {
      process.stderr.write(
        `browser test skipped: ${chromiumPath} is missing (CI=true makes it fail)\n`,
      )
      return
    }
    expect(hasChromium, `${chromiumPath} is missing: apt-get install chromium`).toBe(true)
    data = await mkdtemp(join(tmpdir(), 'logloom-browser-'))
    cleanUps.push(() => rm(data, { recursive: true, force: true }))
    broker = await startBroker({ data, port: 0, loglet: 'file' })
    cleanUps.push(() => broker.close())
    server = await servePage()
    cleanUps.push(() => server.close())
    browser = await openBrowser()
    cleanUps.push(() => browser.close())
  })

  afterAll(async () => {
    for (const cleanUp of cleanUps.reverse()) await cleanUp()
  })

  const produce = async (value: string): Promise<void> => {
    await browser.page.locator('#text').fill(value)
    await browser.page.locator('#text').press('Enter')
  }
  const acked = (offset: number): Promise<void> =>
    browser.page.locator('#sent').getByText(`acked at offset ${offset}`, { exact: true }).waitFor()
  const status = (text: string): Promise<void> =>
    browser.page.locator('#status').getByText(text, { exact: true }).waitFor()
  /** Values in the table, oldest first, once there are `count`. */
  const values = async (count: number): Promise<string[]> => {
    await browser.page.locator(`#tail tr:nth-child(${count})`).waitFor()
    return (await browser.page.locator('#tail td:last-child').allTextContents()).reverse()
  }

  it('produces and tails, through a restart of the broker', async ({ skip }) => {
    skip(isSkipped, `${chromiumPath} is missing`)
    const { page, errors } = browser
    await page.goto(`${server.url}?broker=${encodeURIComponent(broker.url)}`)
    await status('open')
    await produce('first')
    await acked(0)
    await produce('<b>second</b>')
    await acked(1)
    expect(await values(2)).toEqual(['first', '<b>second</b>'])
    expect(errors).toEqual([])

    const { port } = broker
    await broker.close()
    await page.waitForFunction("document.getElementById('status').textContent !== 'open'")
    // Waits in the page until the broker is there again.
    await produce('while nobody listened')
    broker = await startBroker({ data, port, loglet: 'file' })
    await acked(2)
    await status('open')
    await produce('after the restart')
    await acked(3)
    const all = ['first', '<b>second</b>', 'while nobody listened', 'after the restart']
    expect(await values(4)).toEqual(all)
    // Chromium itself reports each dial that found nobody; nothing else may be there.
    expect(errors.filter(e => !/^WebSocket connection to .* failed/.test(e))).toEqual([])
    const screenshot = process.env['LOGLOOM_SCREENSHOT']
    if (screenshot !== undefined) await page.screenshot({ path: screenshot })

    await page.reload()
    expect(await values(4)).toEqual(all)
  })
})

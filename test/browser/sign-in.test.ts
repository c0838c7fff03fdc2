// Signing in to the console in a real browser: with the keyboard, with a wrong token, out again, and when the token ends.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SecureBroker } from '../security/secure-broker.ts'
import { type Browser, chromiumPath, hasChromium, openBrowser } from './chromium.ts'

const isSkipped = !hasChromium && process.env['CI'] !== 'true'

describe.skipIf(isSkipped)(`signing in to the console (needs ${chromiumPath})`, () => {
  let broker: SecureBroker
  let browser: Browser

  beforeAll(async () => {
    expect(hasChromium, `${chromiumPath} is missing: apt-get install chromium`).toBe(true)
    broker = await SecureBroker.start()
    browser = await openBrowser()
  }, 60_000)

  afterAll(async () => {
    await browser.close()
    await broker.close()
  })

  const open = async (): Promise<void> => {
    await browser.page.goto('about:blank')
    await browser.page.goto(`${broker.httpUrl}/console/#/connections`)
  }
  const stored = (): Promise<unknown> =>
    browser.page.evaluate(
      '[...Object.values(sessionStorage), ...Object.values(localStorage)].join()',
    )

  it('asks for a token, says what is wrong with another one, and goes on with a right one', async () => {
    const { page } = browser
    await open()
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    expect(await page.getByRole('alert').count()).toBe(0)
    // The field has the focus: nothing but the keyboard is needed.
    await page.keyboard.type('wrong')
    await page.keyboard.press('Enter')
    await page.getByRole('alert').getByText('AUTHENTICATION_FAILED').waitFor()
    expect(await stored()).toBe('')
    if (process.env['LOGLOOM_SCREENSHOTS'] !== undefined)
      await page.screenshot({ path: `${process.env['LOGLOOM_SCREENSHOTS']}/sign-in.png` })
    await page.keyboard.type(broker.adminToken)
    await page.keyboard.press('Enter')
    await page.getByRole('row', { name: /console/ }).waitFor()
    expect(page.url()).not.toContain('lla_')
    expect(await page.content()).not.toContain(broker.adminToken)
  })

  it('is remembered by the tab until one signs out', async () => {
    const { page } = browser
    await page.reload()
    await page.getByRole('row', { name: /console/ }).waitFor()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Sign in' }).waitFor()
    expect(await stored()).toBe('')
  })

  it('asks again when the key is revoked', async () => {
    const { page } = browser
    const admin = (await broker.connect()).admin()
    const { token, tokenId } = await admin.createToken({ principal: 'User:ops' })
    await admin.createAcls([{ principal: 'User:ops', resource: 'cluster', operation: 'describe' }])
    await open()
    await page.getByLabel('Token').fill(token)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('button', { name: 'Sign out' }).waitFor()
    await admin.revokeToken(tokenId)
    await page
      .getByRole('alert')
      .getByText(/expired or was revoked/)
      .waitFor()
    expect(await stored()).toBe('')
  })

  it('has no error on the way that is not meant', () => {
    expect(browser.errors.filter(error => !/WebSocket|status of/.test(error))).toEqual([])
  })
})

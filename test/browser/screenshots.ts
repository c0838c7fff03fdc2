// Pictures of every view and dialog of the console, to be looked at by people: light and dark, at 1280×800 and on a phone, with records, groups that lag, a queue and a
// log that was switched under load. Nothing is compared. Usage, after `npm run build`: node dist/test/browser/screenshots.js [FOLDER]   (default: screenshots, not committed)

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { startBroker } from '../../broker/index.ts'
import { type Client, connect } from '../../client/index.ts'
import { SecureBroker } from '../security/secure-broker.ts'
import { type Browser, openBrowser } from './chromium.ts'

const folder = process.argv[2] ?? 'screenshots'
/** Until the plots have something to show. */
const warmUpMs = 20_000
const sizes = { desktop: { width: 1280, height: 800 }, phone: { width: 390, height: 844 } } as const
const schemes = ['light', 'dark'] as const

const cleanUps: (() => unknown)[] = []
const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

mkdirSync(folder, { recursive: true })
try {
  const browser = await openBrowser()
  cleanUps.push(() => browser.close())
  await viewsAndDialogs(browser)
  await signIn(browser)
  process.stdout.write(`pictures are in ${folder}${browser.errors.map(e => `\n${e}`).join('')}\n`)
} finally {
  for (const cleanUp of cleanUps.reverse()) await cleanUp()
}

async function viewsAndDialogs({ page }: Browser): Promise<void> {
  const data = mkdtempSync(join(tmpdir(), 'logloom-screenshots-'))
  cleanUps.push(() => rmSync(data, { recursive: true, force: true }))
  const broker = await startBroker({ data, port: 0, loglet: 'file' })
  cleanUps.push(() => broker.close())
  const client = await connect(broker.url, { clientId: 'shop' })
  cleanUps.push(() => client.close({ timeoutMs: 0 }))
  await fill(client)
  const home = `${broker.url.replace('ws:', 'http:')}/console/`
  await page.goto(`${home}#/log`)
  await sleep(warmUpMs / 3)
  await client.admin().switchLog('striped:2:file')
  await sleep(warmUpMs / 3)
  await client.admin().switchLog('file')
  await sleep(warmUpMs / 3)
  for (const [size, viewport] of Object.entries(sizes))
    for (const colorScheme of schemes) {
      await page.setViewportSize(viewport)
      await page.emulateMedia({ colorScheme })
      await pictures(page, home, name => shot(page, `${name}-${size}-${colorScheme}`))
    }
}

/** Load that goes on, and what it leaves behind. */
async function fill(client: Client): Promise<void> {
  const admin = client.admin()
  for (const [topic, partitions] of [
    ['orders', 3],
    ['payments', 6],
    ['clicks', 12],
    ['audit-log-of-everything-that-happened-in-the-shop', 1],
  ] as const)
    await admin.createTopic({ topic, partitions })
  const producer = client.producer()
  let n = 0
  const put = (topic: string, key: string): unknown =>
    producer.enqueue(topic, {
      key,
      value: JSON.stringify({ order: n, customer: key, total: (n * 7) % 1000, note: 'as usual' }),
      headers: { trace: `t${n++}` },
    })
  for (let i = 0; i < 500; i++) put('payments', `p${i % 9}`)
  await producer.flush()
  const early = client.consumer({
    groupId: 'nightly-report',
    topics: 'payments',
    autoOffsetReset: 'earliest',
  })
  for await (const record of early) if (record.offset > 20) break
  const timer = setInterval(() => {
    put('orders', `customer-${n % 7}`)
    for (let i = 0; i < 5; i++) put('clicks', `c${n % 50}`)
  }, 20)
  const billing = client.consumer({ groupId: 'billing', topics: ['orders', 'payments'] })
  // Slower than what comes.
  const slow = client.consumer({
    groupId: 'analytics',
    topics: 'clicks',
    autoOffsetReset: 'earliest',
  })
  const mailer = client.queue({ group: 'mailer', topics: 'orders', autoOffsetReset: 'earliest' })
  const running = [
    billing.run(() => {}),
    slow.run(() => sleep(50)),
    mailer.run(async record => {
      await sleep(5)
      if (record.offset % 25 === 0) throw new Error('the mail server is full')
    }),
  ]
  cleanUps.push(async () => {
    clearInterval(timer)
    await Promise.all([billing.close(), slow.close(), mailer.close()])
    await Promise.allSettled(running)
  })
}

async function pictures(
  page: Page,
  home: string,
  take: (name: string) => Promise<void>,
): Promise<void> {
  /** Another view is another element: plots take their colours when they are made. */
  const open = async (view: string): Promise<void> => {
    await page.goto(`${home}#/`)
    await page.goto(`${home}#/${view}`)
    await page.locator('main :is(table, canvas)').first().waitFor()
    await sleep(1500)
  }
  const dialog = async (
    button: string | RegExp,
    name: string,
    work?: () => Promise<void>,
  ): Promise<void> => {
    await page.getByRole('button', { name: button }).first().click()
    await work?.()
    await sleep(300)
    await take(name)
    await page.keyboard.press('Escape')
  }
  for (const view of ['overview', 'topics', 'groups', 'log', 'connections']) {
    await open(view)
    await take(view)
    if (view === 'log') {
      await page.getByRole('button', { name: 'striped:2:file' }).first().click()
      await dialog('Switch…', 'dialog-switch')
    }
    if (view === 'connections') await dialog(/^Disconnect/, 'dialog-disconnect')
  }
  await open('topics/orders')
  await take('topic')
  await page.getByRole('button', { name: 'Pause' }).click()
  await page.locator('table[aria-label=Records] tbody tr button').nth(2).click()
  await take('topic-paused')
  await dialog('Delete topic…', 'dialog-delete-topic')
  await open('topics/audit-log-of-everything-that-happened-in-the-shop')
  await take('topic-empty')
  await page.locator('select[name=config]').selectOption('retention.ms')
  await page.getByLabel('Set to').fill('forever')
  await page.getByRole('button', { name: 'Set', exact: true }).click()
  await page.getByRole('alert').first().waitFor()
  await take('topic-settings-error')
  for (const [group, name] of [
    ['billing', 'group'],
    ['analytics', 'group-behind'],
    ['mailer', 'queue'],
    ['nightly-report', 'group-empty'],
  ] as const) {
    await open(`groups/${group}`)
    await take(name)
  }
  await dialog('Reset offsets…', 'dialog-reset', async () => {
    const within = page.getByRole('dialog')
    await within.getByRole('button', { name: 'Show what it would do' }).click()
    await within.locator('table').waitFor()
  })
  await dialog('Delete group…', 'dialog-delete-group')
}

async function signIn({ page }: Browser): Promise<void> {
  const broker = await SecureBroker.start()
  cleanUps.push(() => broker.close())
  for (const [size, viewport] of Object.entries(sizes))
    for (const colorScheme of schemes) {
      await page.setViewportSize(viewport)
      await page.emulateMedia({ colorScheme })
      await page.goto('about:blank')
      await page.goto(`${broker.httpUrl}/console/`)
      await page.getByRole('heading', { name: 'Sign in' }).waitFor()
      await shot(page, `sign-in-${size}-${colorScheme}`)
      await page.keyboard.type('wrong')
      await page.keyboard.press('Enter')
      await page.getByRole('alert').waitFor()
      await shot(page, `sign-in-refused-${size}-${colorScheme}`)
    }
}

async function shot(page: Page, name: string): Promise<void> {
  // A dialog lies over what is in the window, not over the whole page.
  const fullPage = (await page.locator('dialog').count()) === 0
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage })
}

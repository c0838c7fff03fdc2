// The console in a real browser, against a broker under load: what each view shows, and what it lets one do.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import axe from 'axe-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RunningBroker, startBroker } from '../../broker/index.ts'
import { type Client, connect } from '../../client/index.ts'
import { type Browser, chromiumPath, hasChromium, openBrowser } from './chromium.ts'

const soon = { timeout: 20_000 }
const views = ['overview', 'topics', 'groups', 'log', 'connections']
const isSkipped = !hasChromium && process.env['CI'] !== 'true'

describe.skipIf(isSkipped)(`the console (needs ${chromiumPath})`, () => {
  const cleanUps: (() => unknown)[] = []
  let broker: RunningBroker
  let client: Client
  let browser: Browser

  beforeAll(async () => {
    expect(hasChromium, `${chromiumPath} is missing: apt-get install chromium`).toBe(true)
    const data = await mkdtemp(join(tmpdir(), 'logloom-console-'))
    cleanUps.push(() => rm(data, { recursive: true, force: true }))
    broker = await startBroker({ data, port: 0, loglet: 'file' })
    cleanUps.push(() => broker.close())
    client = await connect(broker.url)
    cleanUps.push(() => client.close())
    browser = await openBrowser()
    cleanUps.push(() => browser.close())
    await client.admin().createTopic({ topic: 'orders', partitions: 3 })
    const producer = client.producer()
    let n = 0
    const timer = setInterval(() => {
      producer.enqueue('orders', {
        key: `k${n % 7}`,
        value: JSON.stringify({ order: n++, note: '<b>bold</b>' }),
        headers: { trace: `t${n}` },
      })
    }, 20)
    cleanUps.push(async () => {
      clearInterval(timer)
      await producer.close()
    })
    const group = client.consumer({ groupId: 'billing', topics: 'orders' })
    const consuming = group.run(() => {})
    const queue = client.queue({ group: 'mailer', topics: 'orders' })
    const queueing = queue.run(() => {})
    cleanUps.push(async () => {
      await Promise.all([group.close(), queue.close()])
      await Promise.allSettled([consuming, queueing])
    })
  }, 60_000)

  afterAll(async () => {
    for (const cleanUp of cleanUps.reverse()) await cleanUp()
  })

  const open = async (view: string): Promise<void> => {
    const url = broker.url.replace('ws:', 'http:')
    await browser.page.goto(`${url}/console/#/${view}`)
  }
  const text = (name: string): Promise<string> =>
    browser.page.locator('.tile', { hasText: name }).locator('dd').first().innerText()

  it('is served with a policy that allows nothing from elsewhere', async () => {
    const url = broker.url.replace('ws:', 'http:')
    const page = await fetch(`${url}/console/`)
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('unsafe')
    expect(await page.text()).not.toMatch(/https?:\/\//)
    expect((await fetch(`${url}/console`, { redirect: 'manual' })).status).toBe(308)
    for (const path of ['..%2fpackage.json', '../../package.json', 'nothing.js', '%00'])
      expect((await fetch(`${url}/console/${path}`)).status, path).toBe(404)
  })

  it('shows what goes through the broker', async () => {
    await open('overview')
    await expect.poll(() => text('Records in'), soon).toMatch(/^[1-9].*\/s$/)
    await expect.poll(() => text('Produce p99'), soon).toMatch(/s$/)
    expect(await text('Log')).toBe('file')
    expect(await browser.page.locator('.uplot canvas').count()).toBe(2)
    await browser.page.locator('#status').getByText('-', { exact: false }).waitFor()
  })

  it('tails a topic, pauses and goes on, searches in headers, and shows text as text', async () => {
    const { page } = browser
    await open('topics')
    await page.getByRole('link', { name: 'orders' }).click()
    const rows = page.locator('table[aria-label=Records] tbody tr')
    await expect.poll(() => rows.count(), soon).toBeGreaterThan(5)
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByText(/^Paused:/).waitFor()
    const newest = await rows.first().locator('button').innerText()
    await new Promise(resolve => setTimeout(resolve, 600))
    expect(await rows.first().locator('button').innerText()).toBe(newest)
    const trace = (await rows.nth(2).locator('td').last().innerText()).replace('trace: ', '')
    await page.getByLabel('Search in key').fill(trace)
    await expect.poll(() => page.locator('tbody tr:not([hidden])').count(), soon).toBeLessThan(12)
    await rows.nth(2).locator('button').click()
    expect(await rows.nth(2).locator('pre').innerText()).toContain('"note": "<b>bold</b>"')
    expect(await page.locator('main b').count()).toBe(0)
    await page.getByLabel('Search in key').fill('')
    await page.getByRole('button', { name: 'Resume' }).click()
    await expect.poll(() => rows.first().locator('button').innerText(), soon).not.toBe(newest)
  })

  it('reads from an offset, and says what is wrong with one', async () => {
    const { page } = browser
    await open('topics/orders')
    await page.getByLabel('From').selectOption('offset')
    await page.getByLabel('Where').fill('0')
    await page.locator('select[name=partition]').selectOption('1')
    await page.getByRole('button', { name: 'Read', exact: true }).click()
    await page.getByRole('button', { name: '1:0', exact: true }).waitFor()
    await page.getByLabel('Where').fill('none')
    await page.getByRole('button', { name: 'Read', exact: true }).click()
    await page.getByRole('alert').getByText('none is no number').waitFor()
  })

  it('writes a record', async () => {
    const { page } = browser
    await open('topics/orders')
    await page.getByLabel('Key', { exact: true }).fill('by hand')
    await page.getByLabel('Headers', { exact: true }).fill('from=console')
    await page.getByLabel('Value', { exact: true }).fill('typed')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByText(/^Acked at \d:\d+/).waitFor()
    const found: string[] = []
    for await (const { key, value } of client.read('orders', { from: 'beginning', until: 'end' }))
      if (key === 'by hand') found.push(value as string)
    expect(found).toEqual(['typed'])
  })

  it('shows groups and queues with their lag', async () => {
    const { page } = browser
    await open('groups')
    await page.getByRole('row', { name: /mailer queue/ }).waitFor()
    await page.getByRole('link', { name: 'billing' }).click()
    await expect.poll(() => text('State'), soon).toBe('stable')
    expect(await page.getByRole('table', { name: 'Partitions' }).locator('tbody tr').count()).toBe(
      3,
    )
  })

  it('switches the log after it has asked, and marks that', async () => {
    const { page } = browser
    await open('log')
    await page.getByRole('button', { name: 'striped:2:file' }).click()
    await page.getByRole('button', { name: 'Switch…' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
    expect((await client.admin().describeLog()).segments).toHaveLength(1)
    await page.getByRole('button', { name: 'Switch…' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Switch to striped:2:file' }).click()
    await page.getByText(/^Sealed segment 0 at/).waitFor()
    await page.getByRole('listitem').nth(1).getByText('striped:2:file').waitFor()
    await page.getByLabel('Switch to').fill('nonsense')
    await page.getByRole('button', { name: 'Switch…' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Switch to nonsense' }).click()
    await page.getByRole('alert').getByText('INVALID_SPEC').waitFor()
  })

  it('lists the connections, itself among them', async () => {
    await open('connections')
    await browser.page.getByRole('row', { name: /console/ }).waitFor()
    const { total, connections } = await client.admin().listConnections({ limit: 1 })
    expect([total >= 2, connections.length]).toEqual([true, 1])
    for (const limit of [0, 1001])
      await expect(client.admin().listConnections({ limit })).rejects.toMatchObject({
        code: 'INVALID_REQUEST',
      })
  })

  it('shows what a reset of offsets would do before it does it, and deletes a group whose name is typed', async () => {
    const { page } = browser
    await client.admin().createTopic('done', { partitions: 2 })
    const producer = client.producer()
    for (let i = 0; i < 10; i++) await producer.send('done', { value: `${i}` }, { partition: 0 })
    const once = client.consumer({
      groupId: 'nightly',
      topics: 'done',
      autoOffsetReset: 'earliest',
    })
    let seen = 0
    for await (const _ of once) if (++seen === 10) break
    const committed = async (): Promise<readonly number[]> =>
      (await client.admin().fetchOffsets('nightly')).offsets.map(({ offset }) => offset)
    await expect.poll(committed, soon).toEqual([9, 0])
    await open('groups/nightly')
    await page.getByRole('button', { name: 'Reset offsets…' }).click()
    const dialog = page.getByRole('dialog')
    const move = dialog.getByRole('button', { name: 'Move offsets' })
    expect(await move.isDisabled()).toBe(true)
    await dialog.locator('select[name=to]').selectOption('shift')
    await dialog.getByLabel('Where').fill('minus four')
    await dialog.getByRole('button', { name: 'Show what it would do' }).click()
    await dialog.getByRole('alert').getByText('minus four is no number').waitFor()
    await dialog.getByLabel('Where').fill('-4')
    await dialog.getByRole('button', { name: 'Show what it would do' }).click()
    await dialog.getByRole('row', { name: 'done 0 9 5 -4' }).waitFor()
    expect(await committed()).toEqual([9, 0])
    // Another wish than what was shown has to be shown first.
    await dialog.getByLabel('Where').fill('-5')
    expect(await move.isDisabled()).toBe(true)
    await dialog.getByRole('button', { name: 'Show what it would do' }).click()
    await dialog.getByRole('row', { name: 'done 0 9 4 -5' }).waitFor()
    await move.click()
    await page.getByText('Moved the offsets of 2 partitions.').waitFor()
    expect(await committed()).toEqual([4, 0])
    await page.getByRole('button', { name: 'Delete group…' }).click()
    const remove = dialog.getByRole('button', { name: 'Delete', exact: true })
    await dialog.getByLabel('Type nightly').fill('nightl')
    expect(await remove.isDisabled()).toBe(true)
    await dialog.getByLabel('Type nightly').fill('nightly')
    await remove.click()
    await expect.poll(() => page.url(), soon).toMatch(/#\/groups$/)
    expect((await client.admin().listGroups()).map(({ group }) => group)).not.toContain('nightly')
  })

  it('does not touch a group that has members, and says why', async () => {
    const { page } = browser
    await open('groups/billing')
    await page.getByRole('button', { name: 'Reset offsets…' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('button', { name: 'Show what it would do' }).click()
    await dialog.getByRole('row', { name: /^orders 0/ }).waitFor()
    await dialog.getByRole('button', { name: 'Move offsets' }).click()
    await dialog.getByRole('alert').getByText('GROUP_NOT_EMPTY').waitFor()
    await page.keyboard.press('Escape')
    await expect.poll(() => dialog.count(), soon).toBe(0)
  })

  it("changes a topic's settings and partitions, and deletes it", async () => {
    const { page } = browser
    await client.admin().createTopic('short', { partitions: 1 })
    await open('topics/short')
    await page.locator('select[name=config]').selectOption('retention.ms')
    await page.getByLabel('Set to').fill('forever')
    await page.getByRole('button', { name: 'Set', exact: true }).click()
    await page.getByRole('alert').getByText('INVALID_CONFIG').waitFor()
    await page.getByLabel('Set to').fill('3600000')
    await page.getByRole('button', { name: 'Set', exact: true }).click()
    await page.getByText('Set retention.ms to 3600000.').waitFor()
    await page.getByLabel('Partitions in all').fill('3')
    await page.getByRole('button', { name: 'Add partitions' }).click()
    await page.getByText('short has 3 partitions now').waitFor()
    const found = await client.admin().describeTopic('short')
    expect(found.config).toMatchObject({ 'retention.ms': '3600000' })
    expect(found.partitions).toHaveLength(3)
    await page.getByRole('button', { name: 'Delete topic…' }).click()
    await page.getByRole('dialog').getByLabel('Type short').fill('short')
    await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click()
    await expect.poll(() => page.url(), soon).toMatch(/#\/topics$/)
    expect((await client.admin().listTopics()).map(({ topic }) => topic)).not.toContain('short')
  })

  it('disconnects a client, which comes back', async () => {
    const { page } = browser
    const victim = await connect(broker.url, { clientId: 'victim' })
    await open('connections')
    const row = page.getByRole('row', { name: /victim/ })
    await row.getByRole('button').click()
    await page.getByRole('dialog').getByRole('button', { name: 'Disconnect' }).click()
    await page.getByText(/^Closed connection \d+\.$/).waitFor()
    await victim.admin().ping()
    await victim.close()
  })

  it('keeps the focus where it is while what is shown changes', async () => {
    const { page } = browser
    await open('connections')
    const [first] = (await client.admin().listConnections()).connections
    const name = `Disconnect ${first?.id}`
    await page.getByRole('button', { name, exact: true }).focus()
    const shown = page.locator('main table')
    const before = await shown.innerText()
    await expect.poll(() => shown.innerText(), soon).not.toBe(before)
    expect(await page.evaluate('document.activeElement.getAttribute("aria-label")')).toBe(name)
  })

  it.each(['light', 'dark'] as const)(
    'has nothing that axe-core finds serious, in any view or dialog, in %s',
    async colorScheme => {
      const { page } = browser
      await page.setViewportSize({ width: 1280, height: 800 })
      await page.emulateMedia({ colorScheme })
      const check = async (what: string): Promise<void> => {
        await page.evaluate(axe.source)
        const found = (await page.evaluate('axe.run()')) as axe.AxeResults
        const bad = found.violations.filter(({ impact }) => /serious|critical/.test(impact ?? ''))
        const told = bad.map(({ id, nodes }) => `${id}: ${nodes.map(node => node.html).join(' ')}`)
        expect(told, what).toEqual([])
      }
      for (const view of [...views, 'topics/orders', 'groups/billing', 'groups/mailer']) {
        await page.goto('about:blank')
        await open(view)
        await page.locator('main :is(table, canvas)').first().waitFor()
        expect(
          await page.evaluate('document.documentElement.scrollWidth'),
          view,
        ).toBeLessThanOrEqual(1280)
        await check(view)
      }
      await open('groups/billing')
      await page.getByRole('button', { name: 'Reset offsets…' }).click()
      await check('the dialog that resets offsets')
      await page.keyboard.press('Escape')
      await page.getByRole('button', { name: 'Delete group…' }).click()
      await check('the dialog that deletes a group')
      await page.keyboard.press('Escape')
      await page.emulateMedia({ colorScheme: 'light' })
    },
    60_000,
  )

  it('is of use with the keyboard, on a phone, and without an error on the way', async () => {
    const { page, errors } = browser
    await page.goto('about:blank')
    await open('topics')
    await page.getByRole('link', { name: 'orders' }).waitFor()
    await page.keyboard.press('Tab')
    expect(await page.evaluate('document.activeElement.className')).toBe('skip')
    await page.setViewportSize({ width: 390, height: 800 })
    for (const view of ['overview', 'topics', 'topics/orders', 'groups', 'log', 'connections']) {
      await open(view)
      await page.locator('h1').waitFor()
      const width = await page.evaluate('document.documentElement.scrollWidth')
      expect(width, view).toBeLessThanOrEqual(390)
    }
    expect(errors).toEqual([])
  })

  it('says that the broker is gone, and goes on when it is there again', async () => {
    const { page } = browser
    await open('overview')
    await page.locator('#status:not(.bad)').waitFor()
    const { port, data } = broker
    await broker.close()
    await page.locator('#status.bad').waitFor()
    broker = await startBroker({ data, port, loglet: 'file' })
    await page.locator('#status:not(.bad)').waitFor()
    await expect.poll(() => text('Records in'), soon).toMatch(/^[1-9].*\/s$/)
  })
})

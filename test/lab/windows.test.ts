import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest'
import { openTestDatabase } from '../support/databases.ts'
import { LabPage } from '../support/lab/lab-page.ts'
import { openBrowser, patienceMs } from '../support/lab/open-browser.ts'
import { type RunningLab, startLab } from '../support/lab/start-lab.ts'
import { openProxy, openProxyTo } from '../support/tcp-proxy.ts'

let browser: Browser

beforeAll(async () => {
  browser = await openBrowser()
})
afterAll(async () => {
  await browser?.close()
})

async function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<RunningLab> {
  const lab = await startLab(args, env)
  onTestFinished(() => lab.stop())
  return lab
}

test('what one window does, the other one shows', async () => {
  const lab = await start(['--port', '0'])
  const [one, other] = await Promise.all([
    LabPage.open(browser, lab.url, '/data-models'),
    LabPage.open(browser, lab.url, '/data-models'),
  ])
  await one.fill('E-mail', 'seen@example.com')
  await one.fill('Name', 'Seen By Both')
  await one.press('Create user')
  await other.shows('seen@example.com', other.region('Rows of users'))

  await Promise.all([one.goTo('/outbox'), other.goTo('/outbox')])
  await Promise.all([one.press('Calculate and store a score'), other.press('Calculate and store a score')])
  await Promise.all([one.shows('Pending: 2'), other.shows('Pending: 2')])
  await one.switch('Broker down', true)
  await expect.poll(() => other.page.getByLabel('Broker down').isChecked(), { timeout: patienceMs }).toBe(true)
  await other.switch('Broker down', false)
  await other.press('Run the relay once')
  await Promise.all([one.shows('Arrived: 2'), other.shows('Arrived: 2')])
  for (const window of [one, other]) window.expectNoComplaints()
  await Promise.all([one.close(), other.close()])
})

test('a page whose lab is started anew says so, and goes on by itself', async () => {
  const first = await start(['--port', '0'])
  const { port } = new URL(first.url)
  const window = await LabPage.open(browser, first.url, '/outbox')
  await window.press('Calculate and store a score')
  await window.shows('Pending: 1')

  await first.stop()
  await window.shows('The lab does not answer.')
  await window.press('Calculate and store a score')
  await window.shows('Is it still running in its terminal?')

  await start(['--port', port])
  await window.shows('The lab was started anew.')
  await window.shows('Its rows lived in memory and began anew, too.')
  await window.shows('Pending: 0')
  await window.press('Calculate and store a score')
  await window.shows('Pending: 1')
  await window.press('Understood')
  await window.page.getByText('The lab was started anew.').waitFor({ state: 'detached' })
  await window.close()
})

describe('when PostgreSQL is taken away under an open page', () => {
  async function openBehindProxy() {
    const database = await openTestDatabase('postgresql')
    onTestFinished(() => database.close())
    const proxy = await openProxyTo(database.url)
    onTestFinished(() => proxy.close())
    const lab = await start(['--port', '0'], { DATABASE_URL: proxy.url })
    const window = await LabPage.open(browser, lab.url, '/outbox')
    await window.press('Calculate and store a score')
    await window.shows('Pending: 1')
    return { proxy, window }
  }

  test('the page says so, buttons tell what failed, and the relay goes on once it is back', async () => {
    const { proxy, window } = await openBehindProxy()
    await window.press('Start and keep running')
    await window.shows('Arrived: 1')

    await proxy.refuse()
    await window.shows('The database does not answer:')
    await window.press('Calculate and store a score')
    await window.shows('DATABASE_UNREACHABLE', window.region('Record events'))
    await window.shows('Arrived: 1')

    await proxy.accept()
    await window.page.getByText('The database does not answer:').waitFor({ state: 'detached' })
    await window.press('Calculate and store a score')
    await window.shows('Arrived: 2')
    await window.shows('Pending: 0')
    await window.close()
  })

  test('a server that is stalled is told of too, and what was pressed is done once it goes on', async () => {
    const { proxy, window } = await openBehindProxy()
    proxy.stall()
    await window.shows('The database does not answer:')
    await window.press('Calculate and store a score')
    proxy.resume()
    await window.shows('Pending: 2')
    await window.page.getByText('The database does not answer:').waitFor({ state: 'detached' })
    await window.close()
  })
})

test('while Redis is away the page says so, reads come from the database, and commits succeed', async () => {
  const redis = new URL(inject('redisUrl'))
  const proxy = await openProxy(Number(redis.port))
  onTestFinished(() => proxy.close())
  redis.port = String(proxy.port)
  const lab = await start(['--port', '0'], { REDIS_URL: redis.href })
  const window = await LabPage.open(browser, lab.url, '/caching')
  await window.press('Fetch user')
  await window.shows('miss', window.region('Reads of this window'))

  await proxy.refuse()
  await window.shows('The cache does not answer:')
  await window.press('Commit a new name')
  await window.shows(/a unit of work committed the name/)
  await window.press('Fetch user')
  await window.shows(
    /Cache Demo User \d\d:/,
    window
      .region('Reads of this window')
      .locator('tr', { has: window.page.locator('.badge') })
      .first(),
  )

  await proxy.accept()
  await window.page.getByText('The cache does not answer:').waitFor({ state: 'detached' })
  await window.close()
})

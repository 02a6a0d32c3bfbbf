import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { AxeResults } from 'axe-core'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { chapters } from '../../examples/lab/contract/chapters.ts'
import { LabPage } from '../support/lab/lab-page.ts'
import { openBrowser } from '../support/lab/open-browser.ts'
import { type RunningLab, startLab } from '../support/lab/start-lab.ts'

/** `LAB_PICTURES=docs/images` keeps the pictures of this run there. */
const pictures = process.env.LAB_PICTURES
const axePath = createRequire(import.meta.url).resolve('axe-core/axe.min.js')
const looks = [
  { name: 'wide-light', colorScheme: 'light', viewport: { width: 1440, height: 900 } },
  { name: 'wide-dark', colorScheme: 'dark', viewport: { width: 1440, height: 900 } },
  { name: 'narrow-light', colorScheme: 'light', viewport: { width: 360, height: 740 } },
  { name: 'narrow-dark', colorScheme: 'dark', viewport: { width: 360, height: 740 } },
] as const

let browser: Browser
let lab: RunningLab

beforeAll(async () => {
  ;[lab, browser] = await Promise.all([startLab(['--port', '0']), openBrowser()])
  await fillPages()
})
afterAll(async () => {
  await browser?.close()
  await lab?.stop()
})

test.each(chapters.map(({ slug, path }) => ({ slug, path })))(
  'everybody can use $slug: wide, narrow, light, dark',
  async ({ slug, path }) => {
    // The Content-Security-Policy of the page takes no script of a stranger, and axe is one.
    const window = await LabPage.open(browser, lab.url, path, { bypassCSP: true, reducedMotion: 'reduce' })
    await tellStory(window, slug)
    for (const { name, colorScheme, viewport } of looks) {
      await window.page.setViewportSize(viewport)
      await window.page.emulateMedia({ colorScheme })
      expect(await violations(window), name).toEqual([])
      const widths = '[document.documentElement.scrollWidth, document.documentElement.clientWidth]'
      const [content, seen] = (await window.page.evaluate(widths)) as [number, number]
      expect(content, name).toBeLessThanOrEqual(seen)
      const picture = await window.page.screenshot(pictures === undefined ? {} : { path: pictureOf(slug, name) })
      expect(picture.length).toBeGreaterThan(10_000)
    }
    await window.close()
  },
)

test('every guide that a page links to is there, and everybody can read it', async () => {
  const window = await LabPage.open(browser, lab.url, '/', { bypassCSP: true })
  for (const { guide } of chapters) {
    await window.page.goto(`${lab.url}/guides/${guide}`)
    await window.page.getByRole('heading', { level: 1 }).waitFor()
    expect(await violations(window)).toEqual([])
  }
  await window.close()
})

test('the keyboard alone leads through a page', async () => {
  const window = await LabPage.open(browser, lab.url, '/')
  const { keyboard } = window.page
  await keyboard.press('Tab')
  await keyboard.press('Enter') // skips to the page
  expect(await window.page.evaluate('document.activeElement.id')).toBe('content')
  await window.page.getByRole('link', { name: 'Read-through caching' }).first().focus()
  await keyboard.press('Enter')
  await window.page.getByRole('heading', { level: 1, name: 'Read-through caching' }).waitFor()
  await window.page.waitForFunction("document.activeElement.tagName === 'H1'")
  while ((await window.page.evaluate('document.activeElement.textContent')) !== 'Fetch user') await keyboard.press('Tab')
  await keyboard.press('Enter')
  await window.page.locator('.badge.miss, .badge.hit').first().waitFor()
  window.expectNoComplaints()
  await window.close()
})

async function violations(window: LabPage): Promise<string[]> {
  await window.page.addScriptTag({ path: axePath })
  const { violations: found } = (await window.page.evaluate('axe.run()')) as AxeResults
  return found.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`)
}

function pictureOf(slug: string, name: string): string {
  mkdirSync(pictures ?? '', { recursive: true })
  return join(pictures ?? '', `lab-${slug}-${name}.png`)
}

/** Leaves something to see on the pages that show what is stored. */
async function fillPages(): Promise<void> {
  const window = await LabPage.open(browser, lab.url, '/connectivity')
  await window.press('Initialise and create sample users')
  await window.shows('Jane Doe:')
  await window.slide('requests', 100)
  await window.press('Sweep C from 1 to 64')
  await window.region('Measured').getByRole('row').nth(7).waitFor()
  await window.goTo('/outbox')
  await window.press('6 users × 8 scores')
  await window.shows('Recorded 48 events')
  await window.press('A score with a poisoned event')
  await window.press('Start and keep running')
  await window.shows('given up after 3 attempts')
  await window.shows('Nothing waits.')
  await window.stopRelay()
  await window.close()
}

/** What a page shows only once its buttons were pressed. */
async function tellStory(window: LabPage, slug: string): Promise<void> {
  if (slug === 'data-models') {
    await window.press('an empty name')
    await window.press('Create user')
    await window.shows('Give a name')
  }
  if (slug === 'repositories') {
    await window.press('Fetch in both ways')
    await window.shows('26 queries became 2')
  }
  if (slug === 'caching') {
    await window.press('Fetch user')
    await window.press('Fetch latest score')
    await window.page.locator('.badge').nth(1).waitFor()
    for (const step of [/^1\. Let/, /^2\. Commit/, /^3\. Let/, /^4\. Read/]) await window.press(step)
    await window.shows('stale, until it expires')
  }
}

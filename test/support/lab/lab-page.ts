import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { expect } from 'vitest'
import { patienceMs } from './open-browser.ts'

/** A window on the lab, with the words that its tests speak. */
export class LabPage {
  readonly page: Page
  readonly #url: string
  readonly #complaints: string[]

  constructor(page: Page, url: string, complaints: string[]) {
    this.page = page
    this.#url = url
    this.#complaints = complaints
  }

  /** Opens a window of its own on this page of the lab. */
  static async open(browser: Browser, url: string, path: string, options: BrowserContextOptions = {}): Promise<LabPage> {
    const context = await browser.newContext(options)
    const page = await context.newPage()
    page.setDefaultTimeout(patienceMs)
    const complaints: string[] = []
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('console', (message) => {
      // A refused form is answered with a status of refusal, which the browser notes as an error.
      if (
        message.type() === 'error' &&
        !/status of 4(09|22)|ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED/.test(message.text())
      ) {
        complaints.push(message.text())
      }
    })
    const lab = new LabPage(page, url, complaints)
    await lab.goTo(path)
    return lab
  }

  /** Goes to a page, and waits until it hears what the lab tells. */
  async goTo(path: string): Promise<void> {
    await this.page.goto(`${this.#url}${path}`)
    await this.page.locator('.wire.ok').first().waitFor()
    await this.page.locator('.excerpt').first().waitFor()
  }

  async press(name: string | RegExp): Promise<void> {
    await this.page.getByRole('button', { name }).first().click()
  }

  async stopRelay(): Promise<void> {
    await this.press('Stop the relay')
    await this.shows('stopped', this.region('Relay them'))
  }

  async fill(label: string, value: string): Promise<void> {
    await this.page.getByLabel(label, { exact: true }).fill(value)
  }

  /** Moves the slider whose label holds these words. */
  async slide(label: string, value: number): Promise<void> {
    await this.page.locator('label.slider', { hasText: label }).locator('input').fill(String(value))
  }

  /** Sets a checkbox, which shows the new state only once the service has it. */
  async switch(label: string, on: boolean): Promise<void> {
    const box = this.page.getByLabel(label)
    await box.click()
    await expect.poll(() => box.isChecked(), { timeout: 30_000 }).toBe(on)
  }

  region(name: string): Locator {
    return this.page.getByRole('region', { name })
  }

  /** Waits until this part of the page shows the text. */
  async shows(text: string | RegExp, inside: Locator | Page = this.page): Promise<void> {
    await inside.getByText(text).first().waitFor()
  }

  /** What went wrong in this window: errors of scripts, and what the Content-Security-Policy refused. */
  expectNoComplaints(): void {
    expect(this.#complaints).toEqual([])
  }

  async close(): Promise<void> {
    await this.page.context().close()
  }
}

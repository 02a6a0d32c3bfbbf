import { type Browser, chromium } from 'playwright-core'
import { inject } from 'vitest'

/** How long the page may take to show something, in ms, on a machine that is busy with other tests. */
export const patienceMs = 60_000

/** Opens a browser with an empty profile of its own, which goes when it closes. */
export async function openBrowser(): Promise<Browser> {
  return chromium.launch({
    ...inject('browser'),
    headless: true,
    timeout: patienceMs,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-dev-shm-usage',
    ],
  })
}

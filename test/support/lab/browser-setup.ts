import type { TestProject } from 'vitest/node'
import { type FoundBrowser, findBrowser } from './find-browser.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The browser of this system, for the tests of the lab. */
    browser: FoundBrowser
  }
}

/** Finds or installs the browser before the first test of the lab. */
export async function setup(project: TestProject): Promise<void> {
  project.provide('browser', await findBrowser((line) => process.stderr.write(`${line}\n`)))
}

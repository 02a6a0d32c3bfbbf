import { writeFileSync } from 'node:fs'
import type { Reporter, TestCase, TestModule } from 'vitest/node'

/** Names every test that was skipped, with its reason, and writes the figures of the run to `TEST_FIGURES_FILE`, if set. */
export class FiguresReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()])
    const count = (state: string) => tests.filter((test) => test.result().state === state).length
    for (const test of tests) if (test.result().state === 'skipped') console.log(`skipped: ${test.fullName} (${reason(test)})`)

    // A file that cannot be loaded, or an error outside of any test, fails the run as a test does.
    const broken = modules.filter((module) => module.errors().length > 0).length + unhandledErrors.length
    const figures = { passed: count('passed'), failed: count('failed') + broken, skipped: count('skipped') }
    const file = process.env.TEST_FIGURES_FILE
    if (file) writeFileSync(file, JSON.stringify(figures))
  }
}

function reason(test: TestCase): string {
  const result = test.result()
  return (result.state === 'skipped' && result.note) || 'without a reason'
}

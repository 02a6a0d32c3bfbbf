import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'
import { FiguresReporter } from './test/support/figures-reporter.ts'

const servers = 'test/support/global-setup.ts'
const built = 'test/support/built-package.ts'
const browser = 'test/support/lab/browser-setup.ts'

/** A project of tests in `test/<name>/`, and what must be there before its first one. */
function project(name: string, testTimeout: number, globalSetup: readonly string[]) {
  return {
    extends: true as const,
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      testTimeout,
      hookTimeout: Math.max(testTimeout, 60_000),
      globalSetup: [...globalSetup],
    },
  }
}

export default defineConfig({
  test: {
    environment: 'node',
    // The tests open sockets and child processes, and load native drivers: threads would share what processes keep apart.
    pool: 'forks',
    // They wait for servers, timers and each other most of the time, so a machine with two processors runs two files as well.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    passWithNoTests: false,
    // Files share what they import, which takes a quarter of the time otherwise; what a test changes in it, it puts back.
    isolate: false,
    // For a machine that stands still for a while: what never comes is told all the same.
    expect: { poll: { timeout: 20_000 } },
    reporters: ['default', new FiguresReporter()],
    projects: [
      // They take milliseconds; the limit is for a machine that has other things to do.
      project('unit', 30_000, []),
      project('integration', 60_000, [servers]),
      project('contracts', 60_000, [servers]),
      project('scenarios', 180_000, [servers, built]),
      project('package', 300_000, [servers, built]),
      project('lab', 180_000, [servers, built, browser]),
    ],
  },
})

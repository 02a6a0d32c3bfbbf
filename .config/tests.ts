import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { offerHelp } from './command-line.ts'
import { fingerprint, keep, recall } from './fingerprint.ts'

/** How many tests of one run went how. */
export interface TestFigures {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

offerHelp(`npm test [-- <options of vitest>]

Runs every test, and finds or starts the PostgreSQL and Redis that they need. A part of them: \`npm test -- --project unit\`, or
\`npm test -- test/integration/outbox\`. \`npx vitest --help\` lists the options. VERIFY_REUSES_TESTS=1 leaves the run out when all tests just
passed on this very tree.`)
await import('./build-if-needed.ts')
const args = process.argv.slice(2)
const tree = fingerprint(['.'])
const earlier = args.length === 0 && process.env.VERIFY_REUSES_TESTS === '1' ? recall<TestFigures>('tests', tree) : undefined

if (earlier) {
  console.log('All tests passed on this tree just before; they are not run again (VERIFY_REUSES_TESTS=1).')
  console.log(closingLine(earlier))
} else {
  const folder = mkdtempSync(join(tmpdir(), 'data-access-tests-'))
  const figuresFile = join(folder, 'figures.json')
  const { status } = spawnSync('vitest', ['run', ...args], {
    stdio: 'inherit',
    env: { ...process.env, TEST_FIGURES_FILE: figuresFile },
  })
  const figures: TestFigures | undefined = existsSync(figuresFile) ? JSON.parse(readFileSync(figuresFile, 'utf8')) : undefined
  rmSync(folder, { recursive: true })
  if (figures) console.log(closingLine(figures))
  if (status === 0 && figures && args.length === 0) keep('tests', tree, figures)
  process.exitCode = status ?? 1
}

function closingLine({ passed, failed, skipped }: TestFigures): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`
}

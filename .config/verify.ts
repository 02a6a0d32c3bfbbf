import { readCommandLine } from './command-line.ts'
import { runSteps } from './run-steps.ts'
import { staticSteps } from './static-steps.ts'

readCommandLine(
  `npm run verify

Runs all that CI runs: what \`npm run check\` does, the build, docs/api/, the tarball and every test, in minutes. Servers are found or
started. With VERIFY_REUSES_TESTS=1 the tests are not run again when all of them just passed on this very tree.`,
  {},
)
// The tests come last, so that their closing line ends the output.
const failed = [
  ...(await runSteps('verify files', staticSteps)),
  ...(await runSteps('verify build', [{ name: 'build', command: ['node', '.config/build-if-needed.ts'] }])),
  ...(await runSteps('verify package', [
    { name: 'public API as in docs/api', command: ['node', '.config/api-reports.ts', '--check'] },
    { name: 'tarball', command: ['node', '.config/check-tarball.ts'] },
  ])),
  ...(await runSteps('verify tests', [{ name: 'all tests', command: ['node', '.config/tests.ts'], show: true }])),
]
if (failed.length > 0) console.log(`verify: FAILED in ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1

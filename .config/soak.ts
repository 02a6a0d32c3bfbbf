import { spawnSync } from 'node:child_process'
import { offerHelp } from './command-line.ts'

offerHelp(`npm run soak [-- <options of vitest>]

Runs races and faults in full: each race REPEATS times (default 100), faults and backlogs at full size. Takes hours; one file:
\`npm run soak -- test/integration/commit-order.test.ts\`.`)
// SOAK=1 raises the sizes of the tests of faults and backlogs; REPEATS says how often each race is run (test/support/repeats.ts).
const { status } = spawnSync(
  'node',
  ['.config/tests.ts', '--project', 'integration', '--project', 'contracts', ...process.argv.slice(2)],
  {
    stdio: 'inherit',
    env: { ...process.env, SOAK: '1', REPEATS: process.env.REPEATS ?? '100' },
  },
)
process.exitCode = status ?? 1

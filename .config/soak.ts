import { spawnSync } from 'node:child_process'
import { offerHelp } from './command-line.ts'

offerHelp(`npm run soak [-- <options of vitest>]

Runs races and faults in full: each race REPEATS times (default 100), faults at full size. Takes an hour or more; one file:
\`npm run soak -- test/integration/commit-order.test.ts\`.`)
// SOAK=1 raises the sizes of the fault tests; REPEATS says how often each race is run.
const { status } = spawnSync(
  'node',
  ['.config/tests.ts', '--project', 'integration', '--project', 'contracts', ...process.argv.slice(2)],
  {
    stdio: 'inherit',
    env: { ...process.env, SOAK: '1', REPEATS: process.env.REPEATS ?? '100' },
  },
)
process.exitCode = status ?? 1

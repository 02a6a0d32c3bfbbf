import { spawnSync } from 'node:child_process'

// `npm run soak`: the races and faults in full, for hours rather than minutes. Arguments go to vitest.
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

import { readCommandLine } from './command-line.ts'
import { runSteps } from './run-steps.ts'
import { staticSteps } from './static-steps.ts'

readCommandLine(
  `npm run check

Says in seconds, without a server and without a build, whether format, lint, floors, types, dead code and unit tests are well.`,
  {},
)
const failed = await runSteps('check', [
  ...staticSteps,
  { name: 'unit tests', command: ['vitest', 'run', '--project', 'unit', '--reporter', 'dot'] },
])
console.log(failed.length === 0 ? 'check: all is well' : `check: FAILED in ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1

import type { Step } from './run-steps.ts'

/** The checks that only read the files, the longest first. */
export const staticSteps: readonly Step[] = [
  { name: 'types', command: ['tsc', '-p', '.'] },
  { name: 'types of the page of the lab', command: ['tsc', '-p', 'examples/lab/page'] },
  { name: 'format and lint', command: ['biome', 'check', '--error-on-warnings', '.'] },
  { name: 'floors', command: ['depcruise', 'src', 'test', 'examples'] },
  { name: 'dead code', command: ['knip'] },
  { name: 'dead code in what is shipped', command: ['knip', '--production'] },
]

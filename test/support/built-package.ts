import { execFileSync } from 'node:child_process'

/** Builds dist before the tests that use the package by its own name, unless it is built from these very files. */
export function setup(): void {
  execFileSync(process.execPath, ['.config/build-if-needed.ts'], { stdio: 'inherit' })
}

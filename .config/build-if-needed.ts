import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fingerprint, keep, recall } from './fingerprint.ts'

// Examples, package tests and snippets use the package by its own name, which leads to dist.
const print = fingerprint([
  'src',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'tsup.config.ts',
  '.config/entry-points.ts',
])

if (!existsSync('dist/index.d.ts') || recall('build', print) === undefined) {
  console.log('building dist …')
  const started = performance.now()
  const { status, stdout, stderr } = spawnSync('tsup', [], { encoding: 'utf8' })
  if (status !== 0) {
    console.error(`${stdout}${stderr}`.trimEnd())
    console.error('The build of dist failed: see above. `npm run check` names errors of types more clearly.')
    process.exit(1)
  }
  keep('build', print, true)
  console.log(`built dist in ${((performance.now() - started) / 1000).toFixed(1)} s`)
}

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readCommandLine } from './command-line.ts'

const help = `npm run release [-- options]

Verifies everything and publishes the version of package.json to the registry that npm is configured for. See docs/releasing.md.

  --dry-run   does all but publish and tag
  --help      prints this`

release(readCommandLine(help, { 'dry-run': { type: 'boolean', default: false } }).values['dry-run'])

function release(dryRun: boolean): void {
  const { name, version } = JSON.parse(readFileSync('package.json', 'utf8'))
  const refusals = [
    git('status', '--porcelain') !== '' && 'the work tree has changes that are not committed: commit or remove them',
    git('tag', '--list', `v${version}`) !== '' && `there is a tag v${version} already: raise the version in package.json`,
    !readFileSync('CHANGELOG.md', 'utf8').includes(`\n## [${version}]`) &&
      `CHANGELOG.md has no section "## [${version}]": write it`,
    published(`${name}@${version}`) &&
      `the registry has ${version} already, and takes a version once: raise the version in package.json`,
  ].filter((refusal) => refusal !== false)
  if (refusals.length > 0) fail(`${name} ${version} is not released:\n  ${refusals.join('\n  ')}`)

  if (spawnSync('npm', ['run', '--silent', 'verify'], { stdio: 'inherit' }).status !== 0) {
    fail(`${name} ${version} is not released: verify failed, see above`)
  }

  // Packed once, so that what is published is the very file that was looked at.
  const folder = mkdtempSync(join(tmpdir(), 'data-access-release-'))
  try {
    const packed = JSON.parse(
      execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { encoding: 'utf8' }),
    )
    const options = ['--ignore-scripts', '--provenance=false', ...(dryRun ? ['--dry-run'] : [])]
    const publishing = spawnSync('npm', ['publish', join(folder, packed[0].filename), ...options], { stdio: 'inherit' })
    if (publishing.status !== 0) fail(`${name} ${version} is not released: npm publish failed, see above`)
  } finally {
    rmSync(folder, { recursive: true })
  }
  if (dryRun) {
    console.log(`${name} ${version} could be released; nothing was published`)
    return
  }
  git('tag', '--annotate', `v${version}`, '--message', `${name} ${version}`)
  console.log(`${name} ${version} is released. Push the tag: git push origin v${version}`)
}

/** Asks the registry before the minutes that `verify` takes. One that does not answer is told of by `npm publish`. */
function published(version: string): boolean {
  return spawnSync('npm', ['view', version, 'version'], { encoding: 'utf8' }).stdout.trim() !== ''
}

function git(...args: string[]): string {
  return execFileSync('git', args, { encoding: 'utf8' }).trim()
}

function fail(message: string): never {
  console.error(message)
  process.exit(1)
}

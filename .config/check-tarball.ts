import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// Packs the package as `npm publish` would, and lets publint and attw judge the tarball.
const folder = mkdtempSync(join(tmpdir(), 'data-access-tarball-'))
try {
  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { encoding: 'utf8' })
  const [{ filename, size, entryCount }] = JSON.parse(packed)
  const tarball = join(folder, filename)
  console.log(`${filename}: ${entryCount} files, ${Math.ceil(size / 1024)} KiB`)
  const checks = [
    ['publint', [tarball, '--strict']],
    ['attw', [tarball, '--profile', 'esm-only']],
  ] as const
  for (const [program, args] of checks) {
    if (spawnSync(program, args, { stdio: 'inherit' }).status !== 0) process.exitCode = 1
  }
} finally {
  rmSync(folder, { recursive: true })
}

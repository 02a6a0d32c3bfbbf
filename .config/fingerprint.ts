import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'

const folder = 'node_modules/.cache/data-access'

/** A digest of the files under these paths that git tracks or would track; undefined outside a git checkout. */
export function fingerprint(paths: readonly string[]): string | undefined {
  let listed: string
  try {
    listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '-z', '--', ...paths], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
  } catch {
    return undefined
  }
  const digest = createHash('sha256').update(process.version)
  for (const path of listed
    .split('\0')
    .filter((path) => path && existsSync(path) && statSync(path).isFile())
    .sort()) {
    digest.update(`\0${path}\0`).update(readFileSync(path))
  }
  return digest.digest('hex')
}

/** What was kept under this name for this fingerprint; undefined when it was for another one, or nothing was. */
export function recall<Value>(name: string, print: string | undefined): Value | undefined {
  const path = `${folder}/${name}.json`
  if (print === undefined || !existsSync(path)) return undefined
  const kept = JSON.parse(readFileSync(path, 'utf8'))
  return kept.fingerprint === print ? kept.value : undefined
}

/** Keeps a value for this fingerprint, until the next one under the same name. */
export function keep<Value>(name: string, print: string | undefined, value: Value): void {
  const path = `${folder}/${name}.json`
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, JSON.stringify({ fingerprint: print ?? null, value }))
}

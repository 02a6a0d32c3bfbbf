import { readFileSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { dirname, join } from 'node:path'
import { MikroORM } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'

const core = '@mikro-orm/core'

/** Whether this is an ORM, of whichever copy of MikroORM. */
export function isOrm(value: unknown): boolean {
  for (let prototype: unknown = value; prototype; prototype = Object.getPrototypeOf(prototype)) {
    if (typeof prototype === 'object' && prototype.constructor?.name === MikroORM.name) return true
  }
  return false
}

/**
 * Refuses an ORM of another copy of MikroORM: it does not know our classes for its own, and we not its.
 *
 * @throws DataAccessError `DRIVER_MISMATCH`.
 */
export function refuseOtherCore(orm: MikroORM): void {
  if (orm instanceof MikroORM) return
  const copies = findCopies()
  const where =
    copies.length > 1 ? `: ${copies.join(', and ')}` : copies.map((copy) => `: this library has that in ${copy}`).join('')
  throw new DataAccessError(
    'DRIVER_MISMATCH',
    `Two copies of ${core} are installed, and the ORM or its driver is of another one than this library${where}. Install one: list all packages of MikroORM with one version in one package.json, and run: npm dedupe`,
    { context: { copies } },
  )
}

/** The copies that this library, the drivers and the application see, as far as they can be found. */
function findCopies(): string[] {
  const application = join(process.cwd(), 'package.json')
  const near = (base: string | URL) => [base, findPackage('@mikro-orm/postgresql', base), findPackage('@mikro-orm/sqlite', base)]
  const bases = [import.meta.url, application].flatMap(near)
  const found = bases.flatMap((base) => (base === undefined ? [] : (findPackage(core, base) ?? [])))
  return [...new Set(found)].map((file) => `${dirname(file)} (${versionIn(file)})`)
}

function findPackage(name: string, base: string | URL): string | undefined {
  try {
    return findPackageJSON(name, base)
  } catch {
    return undefined
  }
}

function versionIn(file: string): string {
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

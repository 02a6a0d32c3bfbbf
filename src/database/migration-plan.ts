import type { MigrationObject } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { checkOptions, oneOf, wholeFrom } from '../kernel/options.ts'

/** Which way to migrate, and how far. */
export interface MigrateOptions {
  /** `up` runs what has not run yet; `down` reverts. Default `up`. */
  readonly direction?: 'up' | 'down' | undefined
  /**
   * The name of the last migration to run (`up`), or of the last one to keep (`down`; `0` keeps none). By default `up` runs
   * all and `down` reverts the one that ran last.
   */
  readonly to?: string | 0 | undefined
  /**
   * How long a statement waits for a lock of PostgreSQL, in ms: all who come later for the table wait behind it. Default 5000, whatever
   * `lock_timeout` the connection has; 0 waits without a bound.
   */
  readonly lockTimeoutMs?: number | undefined
}

/** Refuses options of `migrate()` with `OPTION_INVALID`. */
export function checkMigrateOptions(options: MigrateOptions): void {
  const to = { words: 'the name of a migration, or 0', fits: isBound }
  checkOptions({ door: 'migrate' }, options, { direction: oneOf('up', 'down'), to, lockTimeoutMs: wholeFrom(0, 2_147_483_647) })
}

/**
 * Refuses a list in which two migrations have one name: only one of them would ever run.
 *
 * @throws DataAccessError `OPTION_INVALID`.
 */
export function refuseSameNames(definitions: readonly MigrationObject[]): void {
  const names = definitions.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice === undefined) return
  throw new DataAccessError('OPTION_INVALID', `Two migrations are called "${twice}". Rename one of them`)
}

/**
 * Decides which migrations run, in which order: upwards that of the list, downwards the reverse of that in which they ran. What has run
 * but is not in the list belongs to somebody else and is left alone.
 *
 * @param executed the names of those that have run, the newest last.
 */
export function planMigrations(
  given: readonly MigrationObject[],
  executed: readonly string[],
  options: MigrateOptions = {},
): MigrationObject[] {
  const { direction = 'up' } = options
  const to = typeof options.to === 'string' ? storedName(options.to) : options.to
  const definitions = given.map((each) => ({ ...each, name: storedName(each.name) }))
  refuseSameNames(definitions)
  const names = definitions.map(({ name }) => name)
  if (typeof to === 'string' && !names.includes(to)) {
    throw new DataAccessError(
      'OPTION_INVALID',
      `migrate: to: there is no migration "${to}". The known ones are ${names.join(', ')}`,
    )
  }
  if (direction === 'down') return planReverts(definitions, executed, to)
  if (to === 0) throw new DataAccessError('OPTION_INVALID', 'migrate: to: 0 goes with direction "down"')
  const ran = new Set(executed)
  const wanted = to === undefined ? definitions : definitions.slice(0, names.indexOf(to) + 1)
  return wanted.filter(({ name }) => !ran.has(name))
}

/** The name by which MikroORM's table knows a migration: lists made of files may name these. */
export function storedName(name: string): string {
  return name.replace(/\.[jt]s$/, '')
}

/** A later release may have put a migration in the middle of the list: what ran last is what goes first. */
function planReverts(
  definitions: readonly MigrationObject[],
  executed: readonly string[],
  to: string | 0 | undefined,
): MigrationObject[] {
  const byName = new Map(definitions.map((definition) => [definition.name, definition]))
  const known = (names: readonly string[]) => names.flatMap((name) => byName.get(name) ?? [])
  if (to === undefined) {
    const newest = executed.at(-1)
    if (newest === undefined || byName.has(newest)) return known(executed.slice(-1))
    throw new DataAccessError(
      'OPTION_INVALID',
      `migrate: down: the newest migration, "${newest}", is in no list of this data access, and those before it may rest on each other. Revert it with what ran it, or say how far to go: { direction: 'down', to }`,
    )
  }
  const bound = to === 0 ? -1 : executed.indexOf(to)
  if (bound < 0 && to !== 0) {
    throw new DataAccessError(
      'OPTION_INVALID',
      `migrate: to: the migration "${to}" has not run, so nothing after it can be reverted`,
    )
  }
  return known(executed.slice(bound + 1)).reverse()
}

function isBound(value: unknown): boolean {
  return typeof value === 'string' || value === 0
}

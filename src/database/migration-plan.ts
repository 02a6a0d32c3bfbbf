import type { MigrationObject } from '@mikro-orm/core'
import { DataAccessError } from '../errors.ts'
import { checkOptions, oneOf } from '../kernel/options.ts'

/** Which way to migrate, and how far. */
export interface MigrateOptions {
  /** `up` runs what has not run yet; `down` reverts. Default `up`. */
  readonly direction?: 'up' | 'down'
  /**
   * The name of the last migration to run (`up`), or of the last one to keep (`down`; `0` keeps none). By default `up` runs
   * all and `down` reverts the newest one.
   */
  readonly to?: string | 0
}

/** Refuses options of `migrate()` with `OPTION_INVALID`. */
export function checkMigrateOptions(options: MigrateOptions): void {
  const to = { words: 'the name of a migration, or 0', fits: isBound }
  checkOptions({ door: 'migrate' }, options, { direction: oneOf('up', 'down'), to })
}

/**
 * Decides which migrations run, in which order: the order of the list upwards, its reverse downwards. What has run but is not
 * in the list belongs to somebody else and is left alone.
 */
export function planMigrations(
  definitions: readonly MigrationObject[],
  executed: ReadonlySet<string>,
  options: MigrateOptions = {},
): MigrationObject[] {
  const { direction = 'up', to } = options
  const names = definitions.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new DataAccessError('OPTION_INVALID', `Two migrations are called "${twice}". Rename one of them`)
  if (typeof to === 'string' && !names.includes(to)) {
    throw new DataAccessError(
      'OPTION_INVALID',
      `migrate: to: there is no migration "${to}". The known ones are ${names.join(', ')}`,
    )
  }
  const bound = typeof to === 'string' ? names.indexOf(to) : -1
  if (direction === 'up') {
    if (to === 0) throw new DataAccessError('OPTION_INVALID', 'migrate: to: 0 goes with direction "down"')
    return definitions.filter(({ name }, index) => !executed.has(name) && (to === undefined || index <= bound))
  }
  const newestFirst = definitions.filter(({ name }, index) => executed.has(name) && index > bound).reverse()
  return to === undefined ? newestFirst.slice(0, 1) : newestFirst
}

function isBound(value: unknown): boolean {
  return typeof value === 'string' || value === 0
}

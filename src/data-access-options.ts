import type { MikroORM } from '@mikro-orm/core'
import { type CacheChoice, cacheChoiceRequired, memoryCache, noCache } from './cache/cache-choice.ts'
import { isAlone } from './database/alone.ts'
import { isOrm } from './database/core-copies.ts'
import { type DatabaseOptions, databaseExpected } from './database/database-options.ts'
import { DataAccessError } from './errors.ts'
import { type DataAccessExtensionOptions, extensionOptions } from './extension.ts'
import { checkOptions, type Expectation } from './kernel/options.ts'
import type { WakeChoice } from './outbox/relay/wake.ts'

/** Where a data access caches. */
export interface CacheOption {
  /**
   * `redisCache({ url })` of `./cache/redis`, `memoryCache()`, or `false` to read without a cache. Default: in process for SQLite
   * in memory; none for PostgreSQL and a SQLite file, where `cached()` asks you to choose, since other processes would not see what this
   * one expires.
   */
  readonly cache?: CacheChoice | false | undefined
}

/** How a data access tells the relays of other processes of its commits. */
export interface WakeOption {
  /** `redisWake({ url })` of `./outbox/redis-wake`. Default: relays of other processes find events by polling. */
  readonly wake?: WakeChoice | undefined
}

/** A data access with a database of its own. */
export interface DataAccessOptions extends DataAccessExtensionOptions, CacheOption, WakeOption {
  /** Default: SQLite in memory. */
  readonly database?: DatabaseOptions
}

/** A data access on your own ORM, which has the extension `dataAccess({ modules })`. */
export interface AdoptOptions<Orm extends MikroORM = MikroORM> extends CacheOption, WakeOption {
  /**
   * What `await MikroORM.init()` resolved to, on PostgreSQL or SQLite. One data access at a time may have it; `close()` leaves it open.
   */
  readonly orm: Orm
}

const door = 'createDataAccess'

const choices = {
  cache: {
    words: 'redisCache({ url }), memoryCache() or false',
    fits: (value) => value === false || typeof (value as CacheChoice | null)?.open === 'function',
  },
  wake: { words: 'redisWake({ url })', fits: (value) => typeof (value as WakeChoice | null)?.open === 'function' },
} satisfies Record<string, Expectation>

/** Tells whether the options are those of a data access on the caller's own ORM. */
export function adopts(options: DataAccessOptions | AdoptOptions): options is AdoptOptions {
  return typeof options === 'object' && options !== null && 'orm' in options
}

/**
 * Checks the options of `createDataAccess()`, apart from those inside `database`.
 *
 * @throws DataAccessError `OPTION_INVALID`; `DATABASE_URL_INVALID` for a `database` that is there and undefined.
 */
export function checkDataAccessOptions(options: DataAccessOptions | AdoptOptions): void {
  if (adopts(options)) {
    const elsewhere = {
      modules: 'dataAccess({ modules }) among the `extensions` of your MikroORM.init()',
      logger: 'dataAccess({ logger }) among the `extensions` of your MikroORM.init()',
      database: 'your MikroORM.init()',
    }
    // Of another copy of MikroORM too: that is told later, in words of its own.
    const orm = { words: 'the MikroORM that MikroORM.init() resolves to', fits: isOrm }
    checkOptions({ door, elsewhere }, options, { orm, ...choices })
    if (options.orm !== undefined) return
    throw new DataAccessError('OPTION_INVALID', `${door}: orm is undefined; give ${orm.words}, or leave it out`)
  }
  const inDatabase = {
    url: 'database: { url }',
    pool: 'database: { pool }',
    statementTimeoutMs: 'database: { statementTimeoutMs }',
  }
  const elsewhere = {
    ...inDatabase,
    clientUrl: 'database: { url }',
    dbName: 'database: { url }',
    entities: '`entities` of a module',
  }
  checkOptions({ door, elsewhere }, options, { ...extensionOptions, ...choices, database: databaseExpected })
  if (!('database' in options) || options.database !== undefined) return
  throw new DataAccessError(
    'DATABASE_URL_INVALID',
    `${door}: database is undefined; give { url }, or for SQLite in memory leave \`database\` out`,
  )
}

/** The cache that was chosen, or the one that needs no choice; `undefined` where nobody chose one that must be. */
export function chooseCache(orm: MikroORM, cache: CacheChoice | false | undefined): CacheChoice | undefined {
  if (cache === false) return noCache()
  const alone = isAlone(orm)
  if (cache === undefined) return alone ? memoryCache() : undefined
  if (!alone && !cache.seesAllChanges) throw cacheChoiceRequired()
  return cache
}

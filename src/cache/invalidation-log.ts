import { randomUUID } from 'node:crypto'
import type { EntityManager, MikroORM } from '@mikro-orm/core'
import { withoutBusyWaits } from '../database/busy-waits.ts'
import { dialectOf, runSql, runSqlWithCommit } from '../database/sql.ts'
import { atMostKeys } from './key.ts'

/** A row of `cache_invalidations`. */
export interface LoggedInvalidation {
  readonly id: string
  readonly keys: readonly string[]
}

/** More keys than this in one transaction, or in an outage, are remembered as the few that expire all entries of their entities. */
export const mostRemembered = 500

/** Rows removed by one statement. */
export const removedAtOnce = 5000
/** Rows read by one statement: with up to 500 keys each, more of them would hold the process for long while their texts are read. */
export const readAtOnce = 250

/**
 * The table `cache_invalidations`: what each root transaction expires, written in that transaction, so that it is known if
 * and only if the transaction committed. A row stays until a store has acknowledged its keys.
 */
export class InvalidationLog {
  readonly #orm: MikroORM
  readonly #space: string

  constructor(orm: MikroORM, space: string) {
    this.#orm = orm
    this.#space = space
  }

  /** Adds a row in the entity manager's transaction, which is about to commit; resolves to its id. */
  async write(em: EntityManager, keys: readonly string[]): Promise<string> {
    const id = randomUUID()
    const bounded = [...atMostKeys(new Set(keys), mostRemembered)]
    // Not now(): that is when the transaction began, and the age of a row is to begin late.
    const now = dialectOf(em) === 'postgresql' ? 'clock_timestamp()' : sqliteNow
    const insert = `insert into cache_invalidations (id, space, keys, created_at) values (?, ?, ?, ${now})`
    await runSqlWithCommit(em, insert, [id, this.#space, JSON.stringify(bounded)])
    return id
  }

  /** Adds a row in a transaction of its own. */
  async writeAlone(keys: readonly string[]): Promise<void> {
    await this.#fork().transactional((em) => this.write(em, keys))
  }

  /** Whether the table is there, as the entity manager's transaction sees it: that may be a migration's. */
  async exists(em: EntityManager): Promise<boolean> {
    const look =
      dialectOf(em) === 'postgresql'
        ? `select 1 as found where to_regclass('cache_invalidations') is not null`
        : `select 1 as found from sqlite_master where name = 'cache_invalidations'`
    return (await runSql(em, look)).length > 0
  }

  /** The oldest rows of at least this age, at most `limit`. Relies on cache_invalidations_created_at_index. */
  async olderThan(ageMs: number, limit = readAtOnce): Promise<LoggedInvalidation[]> {
    const em = this.#fork()
    const moment =
      dialectOf(em) === 'postgresql' ? `clock_timestamp() - ? * interval '1 millisecond'` : `${sqliteNow} - cast(? as integer)`
    const rows = await runSql<{ id: string; keys: string }>(
      em,
      `select id, keys from cache_invalidations where created_at <= ${moment} and space = ? order by created_at limit ${limit}`,
      [ageMs, this.#space],
    )
    return rows.map(({ id, keys }) => ({ id, keys: JSON.parse(keys) as string[] }))
  }

  /** Removes rows, at most {@link removedAtOnce}; one that is gone already is no fault. */
  async remove(ids: readonly string[]): Promise<void> {
    const em = this.#fork()
    const some = `id in (${ids.map(() => '?').join()})`
    if (dialectOf(em) === 'postgresql') {
      // Nothing is lost when a crash forgets this: the row is swept once more.
      const relaxed = `set_config('synchronous_commit', 'off', true) = 'off'`
      await runSql(em, `delete from cache_invalidations where (select ${relaxed}) and ${some}`, ids)
      return
    }
    await em.getConnection('write').transactional(async (transaction) => {
      em.setTransactionContext(transaction)
      await withoutBusyWaits(em, () => runSql(em, `delete from cache_invalidations where ${some}`, ids))
    })
  }

  #fork(): EntityManager {
    return this.#orm.em.fork({ disableContextResolution: true })
  }
}

const sqliteNow = "cast(unixepoch('subsec') * 1000 as integer)"

import type { EntityManager, MikroORM } from '@mikro-orm/core'
import { migrationMissing } from '../database/migration-missing.ts'
import { type Dialect, dialectOf, runSql } from '../database/sql.ts'

/** Where the outbox's tables are: what its statements run on. */
export class OutboxStore {
  readonly dialect: Dialect
  readonly #orm: MikroORM

  constructor(orm: MikroORM) {
    this.#orm = orm
    this.dialect = dialectOf(orm)
  }

  /** Runs one statement outside every transaction. */
  async run<Row extends object>(sql: string, params: readonly unknown[] = []): Promise<Row[]> {
    return translated(runSql<Row>(this.#fork(), sql, params))
  }

  /** Runs statements in one transaction. */
  async transaction<Result>(work: (em: EntityManager) => Promise<Result>): Promise<Result> {
    return translated(this.#fork().transactional(work))
  }

  #fork(): EntityManager {
    return this.#orm.em.fork({ disableContextResolution: true })
  }
}

async function translated<Result>(statement: Promise<Result>): Promise<Result> {
  try {
    return await statement
  } catch (error) {
    throw migrationMissing(error) ?? error
  }
}

import type { EntityManager, MikroORM } from '@mikro-orm/core'
import { withAnswersWithin } from '../database/answer-limit.ts'
import { migrationMissing } from '../database/migration-missing.ts'
import { type Dialect, dialectOf, runSql } from '../database/sql.ts'

/** Where the outbox's tables are: what its statements run on. */
export class OutboxStore {
  readonly dialect: Dialect
  readonly #orm: MikroORM
  readonly #answerMs: number | undefined

  /** @param answerMs how long each statement may wait for its answer, in ms; without it, as long as the driver does. */
  constructor(orm: MikroORM, answerMs?: number) {
    this.#orm = orm
    this.#answerMs = answerMs
    this.dialect = dialectOf(orm)
  }

  /** Runs one statement outside every transaction. */
  async run<Row extends object>(sql: string, params: readonly unknown[] = []): Promise<Row[]> {
    return this.#answered(() => runSql<Row>(this.#fork(), sql, params))
  }

  /** Runs statements in one transaction. */
  async transaction<Result>(work: (em: EntityManager) => Promise<Result>): Promise<Result> {
    return this.#answered(() => this.#fork().transactional(work))
  }

  #answered<Result>(statements: () => Promise<Result>): Promise<Result> {
    return translated(this.#answerMs === undefined ? statements() : withAnswersWithin(this.#answerMs, statements))
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

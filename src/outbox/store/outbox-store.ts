import type { EntityManager, MikroORM } from '@mikro-orm/core'
import { withAnswersWithin } from '../../database/answer-limit.ts'
import { ownMigrationMissing } from '../../database/migration-missing.ts'
import { type Dialect, dialectOf, runSql } from '../../database/sql.ts'
import { sqlByAny } from './store-sql.ts'

/** Where the outbox's tables are: what its statements run on. */
export class OutboxStore {
  readonly dialect: Dialect
  readonly #orm: MikroORM
  /** For statements outside of transactions, which leave nothing in it. */
  readonly #em: EntityManager
  readonly #answerMs: number | undefined

  /** @param answerMs how long each statement may wait for its answer, in ms; without it, as long as the driver does. */
  constructor(orm: MikroORM, answerMs?: number) {
    this.#orm = orm
    this.#em = this.#fork()
    this.#answerMs = answerMs
    this.dialect = dialectOf(orm)
  }

  /** Runs one statement outside every transaction; by whatever index there is, where one that it names is missing. */
  async run<Row extends object>(sql: string, params: readonly unknown[] = []): Promise<Row[]> {
    const send = (text: string) => this.#answered(() => runSql<Row>(this.#em, text, params))
    if (this.dialect === 'postgresql') return send(sql)
    return send(sql).catch((error: unknown) => {
      if (error instanceof Error && error.message.includes('no such index')) return send(sqlByAny(sql))
      throw error
    })
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
    throw ownMigrationMissing(error) ?? error
  }
}

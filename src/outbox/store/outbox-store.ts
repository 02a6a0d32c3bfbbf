import { type EntityManager, IsolationLevel, type MikroORM } from '@mikro-orm/core'
import { classifyFailure } from '../../database/failure.ts'
import { ownMigrationMissing } from '../../database/migration-missing.ts'
import { withShortStatements } from '../../database/short-statements.ts'
import { type Dialect, dialectOf, runSql } from '../../database/sql.ts'
import { fullJitter } from '../../kernel/backoff.ts'
import { monotonicClock } from '../../kernel/clock.ts'
import { sqlByAny } from './store-sql.ts'

/** How often a statement is sent that another transaction stands in the way of, and the waits between: that one is over in no time. */
const conflictTries = 10
const conflictBackoff = { baseMs: 2, maxMs: 100 }

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
    if (this.dialect === 'postgresql') return withoutConflict(() => send(sql))
    return send(sql).catch((error: unknown) => {
      if (error instanceof Error && error.message.includes('no such index')) return send(sqlByAny(sql))
      throw error
    })
  }

  /** Runs statements in one transaction. */
  async transaction<Result>(work: (em: EntityManager) => Promise<Result>): Promise<Result> {
    // A database may have a stricter default, under which the statements of relays would fail on each other's.
    const options = this.dialect === 'postgresql' ? { isolationLevel: IsolationLevel.READ_COMMITTED } : {}
    return this.#answered(() => this.#fork().transactional(work, options))
  }

  #answered<Result>(statements: () => Promise<Result>): Promise<Result> {
    return translated(withShortStatements(this.#answerMs, statements))
  }

  #fork(): EntityManager {
    return this.#orm.em.fork({ disableContextResolution: true })
  }
}

/** A single statement that fails so has done nothing, and is the same the next time. */
async function withoutConflict<Result>(send: () => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send()
    } catch (error) {
      if (attempt === conflictTries || classifyFailure(error) !== 'conflict') throw error
      await monotonicClock.wait(fullJitter(conflictBackoff, attempt))
    }
  }
}

async function translated<Result>(statement: Promise<Result>): Promise<Result> {
  try {
    return await statement
  } catch (error) {
    throw ownMigrationMissing(error) ?? error
  }
}

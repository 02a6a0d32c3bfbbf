import { afterEach, beforeEach } from 'vitest'
import { openTestDatabase, type TestDatabase, type TestDialect } from './databases.ts'
import { type OutboxUnderTest, openOutbox } from './outbox-bench.ts'

/** Gives each test an outbox of its own. */
export function outboxGround(dialect: TestDialect) {
  let database: TestDatabase
  let bench: OutboxUnderTest
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    bench = await openOutbox(database.url)
  })
  afterEach(async () => {
    await bench.close()
    await database.close()
  })
  return {
    get bench() {
      return bench
    },
    get url() {
      return database.url
    },
    /** Another data access to the same database. */
    openBeside: () => openOutbox(database.url),
  }
}

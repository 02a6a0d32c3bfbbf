import { afterEach, beforeEach } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { openTestDatabase, type TestDatabase, type TestDialect } from './databases.ts'
import { MemoryLogger } from './memory-logger.ts'
import { Note, notes } from './notes-module.ts'

/** Gives each test a data access of its own with the notes, and tells what their units have stored. */
export function unitGround(dialect: TestDialect) {
  let database: TestDatabase
  let data: DataAccess
  let logger: MemoryLogger
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    logger = new MemoryLogger()
    data = await createDataAccess({ modules: [notes], database: { url: database.url }, logger })
    await data.migrate()
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })
  const events = () => data.fork().findAll(DomainEvent, { orderBy: { sequence: 'asc' } })
  return {
    get data() {
      return data
    },
    get url() {
      return database.url
    },
    get logger() {
      return logger
    },
    titles: async () => (await data.fork().findAll(Note, { orderBy: { title: 'asc' } })).map((note) => note.title),
    events,
    payloads: async () => (await events()).map((event) => event.payload),
  }
}

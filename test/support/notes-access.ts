import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { openTestDatabase, type TestDialect } from './databases.ts'
import { Note, notes } from './notes-module.ts'

const opened: (() => Promise<unknown>)[] = []

/** Opens a data access to notes on a database of its own. */
export async function openNotes(dialect: TestDialect): Promise<DataAccess> {
  const database = await openTestDatabase(dialect)
  opened.push(() => database.close())
  const data = await createDataAccess({ modules: [notes], database: { url: database.url } })
  opened.push(() => data.close())
  await data.migrate()
  return data
}

/** Closes what a test has opened, the last first; for `afterEach`. */
export async function closeNotes(): Promise<void> {
  for (const close of opened.splice(0).reverse()) await close()
}

/** The titles of the notes and the payloads of the events that are stored, in order. */
export async function storedNotes(data: DataAccess): Promise<{ rows: string[]; events: unknown[] }> {
  return {
    rows: (await data.fork().findAll(Note, { orderBy: { id: 'asc' } })).map(({ title }) => title),
    events: (await data.fork().findAll(DomainEvent, { orderBy: { sequence: 'asc' } })).map(({ payload }) => payload),
  }
}

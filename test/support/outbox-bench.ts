import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { DataAccessExtension } from '../../src/extension.ts'
import { monotonicClock } from '../../src/kernel/clock.ts'
import type { RecordOptions } from '../../src/outbox/event/recorded-event.ts'
import { Outbox } from '../../src/outbox/outbox.ts'
import { MemoryLogger } from './memory-logger.ts'
import { NoteTagged, notes } from './notes-module.ts'

/** One process's view of an outbox under test: a data access, its outbox, and shortcuts to fill and read the table. */
export interface OutboxUnderTest {
  readonly data: DataAccess
  readonly outbox: Outbox
  readonly logger: MemoryLogger
  /** Records one event per payload in one transaction; all belong to one key unless told otherwise. */
  record(key: string, payloads: readonly unknown[], options?: RecordOptions): Promise<string[]>
  /** The stored events in sequence order. */
  rows(): Promise<StoredRow[]>
  sql<Row extends object>(statement: string, params?: readonly unknown[]): Promise<Row[]>
  close(): Promise<void>
}

/** What the tests look at of a stored event. */
export interface StoredRow {
  readonly id: string
  readonly status: string
  readonly attempts: number
  readonly last_error: string | null
}

/** Opens a data access on a database and an outbox that shares its wake. */
export async function openOutbox(url: string): Promise<OutboxUnderTest> {
  const logger = new MemoryLogger()
  const data = await createDataAccess({ modules: [notes], database: { url }, logger })
  await data.migrate()
  const { guard, wake, events } = DataAccessExtension.of(data.orm)
  const outbox = new Outbox({ orm: data.orm, guard, wake, definitions: events, clock: monotonicClock, logger })
  const sql = <Row extends object>(statement: string, params: readonly unknown[] = []) =>
    runSql<Row>(data.fork(), statement, params)
  return {
    data,
    outbox,
    logger,
    sql,
    record: (key, payloads, options) =>
      data.unitOfWork(async ({ record }) => payloads.map((payload) => record(NoteTagged, key, payload, options).id)),
    rows: () => sql<StoredRow>('select id, status, attempts, last_error from domain_events order by sequence'),
    close: async () => {
      await outbox.stop({ deadline: 0 })
      await data.close()
    },
  }
}

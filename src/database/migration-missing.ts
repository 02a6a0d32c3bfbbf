import { causesOf, DataAccessError } from '../errors.ts'

/** How PostgreSQL numbers, and SQLite words, a statement on a table, a column or a function that does not exist. */
const undefinedTable = '42P01'
const undefinedColumn = '42703'
const undefinedFunction = '42883'
const noSuchColumn = /no such column: |has no column named /
const noSuchTable = /no such table: (?:main\.)?(\S+)/
const relation = /"([^"]+)"/

/**
 * Recognises the error of a statement on a table that does not exist, anywhere in the chain of causes, and returns it as
 * `MIGRATION_MISSING` with the cure; `undefined` for any other error.
 *
 * @param cureOf tells what to do about a table; `undefined` leaves the error as it is.
 */
export function migrationMissing(
  error: unknown,
  cureOf: (table: string) => string | undefined = () => 'Run `await data.migrate()`',
): DataAccessError | undefined {
  for (const current of causesOf(error)) {
    if (current instanceof DataAccessError && current.code === 'MIGRATION_MISSING') return current
    const table = missingTable(current)
    if (table === undefined) continue
    const cure = cureOf(table)
    if (cure === undefined) return undefined
    return new DataAccessError('MIGRATION_MISSING', `Table "${table}" does not exist: the database lacks a migration. ${cure}`, {
      cause: error,
      context: { table },
    })
  }
  return undefined
}

/**
 * The same for a statement on our own tables, which may be older than it: there a column or a function that does not exist is a
 * migration that has not run, too.
 */
export function ownMigrationMissing(error: unknown): DataAccessError | undefined {
  const missing = migrationMissing(error)
  if (missing !== undefined || !(error instanceof Error)) return missing
  const older = 'code' in error && (error.code === undefinedColumn || error.code === undefinedFunction)
  if (!older && !noSuchColumn.test(error.message)) return undefined
  const message = 'The tables of the outbox are older than this version of the library. Run `await data.migrate()`'
  return new DataAccessError('MIGRATION_MISSING', message, { cause: error })
}

function missingTable(error: Error): string | undefined {
  const sqlite = noSuchTable.exec(error.message)?.[1]
  if (sqlite !== undefined) return sqlite
  if (!('code' in error) || error.code !== undefinedTable) return undefined
  // MikroORM may put the statement, with quoted names of its own, before the server's words.
  const named = relation.exec(error.message.slice(error.message.lastIndexOf(' - ') + 1))?.[1] ?? 'unknown'
  return named.slice(named.lastIndexOf('.') + 1)
}

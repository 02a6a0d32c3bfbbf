import { DataAccessError } from '../errors.ts'

/** How PostgreSQL numbers, and SQLite words, a statement on a table that does not exist. */
const undefinedTable = '42P01'
const noSuchTable = /no such table: (?:main\.)?(\S+)/
const relation = /"([^"]+)"/

/**
 * Recognises the error of a statement on a table that does not exist, anywhere in the chain of causes, and returns it as
 * `MIGRATION_MISSING` with the cure; `undefined` for any other error.
 */
export function migrationMissing(error: unknown): DataAccessError | undefined {
  for (let current = error, depth = 0; current instanceof Error && depth < 16; current = current.cause, depth++) {
    const table = missingTable(current)
    if (table === undefined) continue
    return new DataAccessError(
      'MIGRATION_MISSING',
      `Table "${table}" does not exist: the database lacks a migration. Run \`await data.migrate()\``,
      { cause: error, context: { table } },
    )
  }
  return undefined
}

function missingTable(error: Error): string | undefined {
  const sqlite = noSuchTable.exec(error.message)?.[1]
  if (sqlite !== undefined) return sqlite
  if (!('code' in error) || error.code !== undefinedTable) return undefined
  // MikroORM may put the statement, with quoted names of its own, before the server's words.
  return relation.exec(error.message.slice(error.message.lastIndexOf(' - ') + 1))?.[1] ?? 'unknown'
}

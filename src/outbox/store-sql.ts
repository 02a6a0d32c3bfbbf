import type { Dialect } from '../database/sql.ts'

/** The present moment by the database's clock, as it stores one. */
export function sqlNow(dialect: Dialect): string {
  return dialect === 'postgresql' ? 'now()' : "cast(unixepoch('subsec') * 1000 as integer)"
}

/** The moment so many milliseconds from now; `ms` is an expression or a placeholder. */
export function sqlFromNow(dialect: Dialect, ms: string): string {
  return dialect === 'postgresql' ? `(now() + ${ms} * interval '1 millisecond')` : `(${sqlNow(dialect)} + ${ms})`
}

/** Milliseconds from now until a moment; negative when it is past. */
export function sqlUntil(dialect: Dialect, moment: string): string {
  return dialect === 'postgresql'
    ? `ceil(extract(epoch from ${moment} - now()) * 1000)::float8`
    : `(${moment} - ${sqlNow(dialect)})`
}

/** A moment as epoch milliseconds. */
export function sqlEpochMs(dialect: Dialect, moment: string): string {
  return dialect === 'postgresql' ? `floor(extract(epoch from ${moment}) * 1000)::float8` : moment
}

type SqlType = 'uuid' | 'text' | 'int' | 'bigint' | 'boolean'

/**
 * One placeholder's JSON array as rows: a table `alias` with the named columns. All rows travel as one parameter, so that
 * no parameter limit applies.
 */
export function sqlRows(dialect: Dialect, alias: string, columns: Readonly<Record<string, SqlType>>): string {
  const entries = Object.entries(columns)
  if (dialect === 'postgresql') {
    return `json_to_recordset(?::json) as ${alias}(${entries.map(([name, type]) => `"${name}" ${type}`).join(', ')})`
  }
  const read = ([name, type]: [string, SqlType]) =>
    type === 'int' || type === 'bigint' ? `cast(value ->> '${name}' as integer) as "${name}"` : `value ->> '${name}' as "${name}"`
  return `(select ${entries.map(read).join(', ')} from json_each(?)) as ${alias}`
}

/**
 * Tests a column against a subquery in the form that PostgreSQL plans as index lookups also with statistics taken on an
 * empty table.
 */
export function sqlAmong(dialect: Dialect, column: string, subquery: string): string {
  return dialect === 'postgresql' ? `${column} = any(array(${subquery}))` : `${column} in (${subquery})`
}

import type { Dialect } from '../../database/sql.ts'

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
  // Cast, for only what has a column's own type is found by an index on it, or compared with one that SQLite makes for a join.
  const read = ([name, type]: [string, SqlType]) =>
    `cast(value ->> '${name}' as ${type === 'uuid' || type === 'text' ? 'text' : 'integer'}) as "${name}"`
  return `(select ${entries.map(read).join(', ')} from json_each(?)) as ${alias}`
}

/**
 * Tests a column against a subquery in the form that PostgreSQL plans as index lookups also with statistics taken on an
 * empty table.
 */
export function sqlAmong(dialect: Dialect, column: string, subquery: string): string {
  return dialect === 'postgresql' ? `${column} = any(array(${subquery}))` : `${column} in (${subquery})`
}

/** Tests a column against the ids that its placeholder gets as {@link idRows}. */
export function sqlAmongIds(dialect: Dialect, column: string): string {
  return sqlAmong(dialect, column, `select s.id from ${sqlRows(dialect, 's', { id: 'uuid' })}`)
}

/** Ids as one parameter, for {@link sqlAmongIds}. */
export function idRows(ids: readonly string[]): string {
  return JSON.stringify(ids.map((id) => ({ id })))
}

/** A condition for PostgreSQL that is true, and turns off the wait for the disk for the statement's own transaction. */
export const relaxedCommit = `set_config('synchronous_commit', 'off', true) = 'off'`

/** Changes nothing, as the first statement of a transaction: on SQLite one that begins by reading cannot go on to write beside another writer. */
export const writeLock = 'update outbox_dead_letters set blocks_key = blocks_key where 1 = 0'

/**
 * Names the index by which SQLite is to read a table; PostgreSQL needs no such word. SQLite plans by the statistics that somebody
 * took last: with those of a table that was nearly empty it would read all of a full one, once for each bucket. Only for
 * {@link OutboxStore.run}, which goes without where the index is missing.
 */
export function sqlBy(dialect: Dialect, index: string): string {
  return dialect === 'sqlite' ? `${indexedBy}${index}` : ''
}

const indexedBy = ' indexed by '

/** The same statement, by whatever index there is. */
export function sqlByAny(sql: string): string {
  return sql.replaceAll(new RegExp(`${indexedBy}\\w+`, 'g'), '')
}

/** The indexes of pending events, and of the primary key: the latter is SQLite's own name. */
export const pendingIndex = 'domain_events_pending_index'
export const delayedIndex = 'domain_events_delayed_index'
export const availableIndex = 'domain_events_available_index'
export const keyIndex = 'sqlite_autoindex_domain_events_1'

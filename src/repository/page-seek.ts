import type { Dialect } from '../database/sql.ts'
import { cursorInvalid, type PagePosition } from './page-cursor.ts'

/** An expression by which a page is ordered. */
export interface SortKey {
  readonly sql: string
  readonly descends: boolean
  readonly nullsFirst: boolean
  readonly nullable: boolean
}

/** A part of a statement, with a value for each `?` in it. */
interface SqlPart {
  readonly sql: string
  readonly params: readonly string[]
}

type Value = SqlPart | null

/** SQLite's numbers and blobs as its `quote()` writes them: nothing else of a cursor gets into a statement as it is. */
const plainLiteral = /^(-?\d+(\.\d+)?(e[+-]?\d+)?|X'([0-9A-F]{2})*')$/
const textLiteral = /^'(?:[^']|'')*'$/

/**
 * The text of an expression, from which {@link seek} gets the very same value again: the types of JavaScript would lose
 * microseconds, digits, and what is no number.
 */
export function exactText(sql: string, dialect: Dialect): string {
  // In SQLite a value has the type that it has, whatever its column says: the text must tell.
  return dialect === 'postgresql' ? `(${sql})::text` : `nullif(quote(${sql}), 'NULL')`
}

/**
 * The condition of the rows after a position, in the order of the keys.
 *
 * @throws DataAccessError `PAGE_CURSOR_INVALID` for a position that has other values than the keys.
 */
export function seek(keys: readonly SortKey[], position: PagePosition, dialect: Dialect): SqlPart {
  if (position.length !== keys.length) throw cursorInvalid()
  const values = position.map((text) => (text === null ? null : toValue(text, dialect)))
  return after(keys, values)
}

function toValue(text: string, dialect: Dialect): SqlPart {
  // PostgreSQL takes a text of no type for whatever it is compared with.
  if (dialect === 'postgresql') return { sql: '?', params: [text] }
  if (plainLiteral.test(text)) return { sql: text, params: [] }
  if (textLiteral.test(text)) return { sql: '?', params: [text.slice(1, -1).replaceAll("''", "'")] }
  throw cursorInvalid()
}

function after(keys: readonly SortKey[], values: readonly Value[]): SqlPart {
  const [key, ...keysBelow] = keys as [SortKey, ...SortKey[]]
  const [value, ...valuesBelow] = values as [Value, ...Value[]]
  const operator = key.descends ? '<' : '>'
  // Compared as one row the keys are one range of an index, however many rows share the first of them.
  const known = values.filter((each) => each !== null)
  if (known.length === keys.length && keys.every((each) => !each.nullable && each.descends === key.descends)) {
    const left = keys.map(({ sql }) => sql)
    return compare(left.length === 1 ? key.sql : `(${left.join(', ')})`, operator, known)
  }
  const below = keysBelow.length === 0 ? undefined : after(keysBelow, valuesBelow)
  if (value === null) return afterNull(key, below)
  const past = compare(key.sql, operator, [value])
  const orNull = key.nullable && !key.nullsFirst ? ` or ${key.sql} is null` : ''
  if (below === undefined) return { ...past, sql: `(${past.sql}${orNull})` }
  const params = [...value.params, ...past.params, ...below.params]
  // What is at or past the value is a range; what is at it is found within.
  return { sql: `((${key.sql} ${operator}= ${value.sql}${orNull}) and (${past.sql}${orNull} or ${below.sql}))`, params }
}

function afterNull({ sql, nullsFirst }: SortKey, below: SqlPart | undefined): SqlPart {
  if (below === undefined) return { sql: nullsFirst ? `${sql} is not null` : '1 = 0', params: [] }
  return { ...below, sql: nullsFirst ? `(${sql} is not null or ${below.sql})` : `(${sql} is null and ${below.sql})` }
}

function compare(left: string, operator: string, values: readonly SqlPart[]): SqlPart {
  const right = values.map(({ sql }) => sql).join(', ')
  const params = values.flatMap((value) => value.params)
  return { sql: `${left} ${operator} ${values.length === 1 ? right : `(${right})`}`, params }
}

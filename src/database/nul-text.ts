import { DataAccessError } from '../errors.ts'
import { tableOf } from './statement-table.ts'

/** A statement as it leaves for the database: MikroORM writes its values into the text. */
export interface SentQuery {
  readonly sql: string
}

/** How a database refuses U+0000. Each error has other reasons too, so the statement is looked at where the words do not tell. */
const refusals: readonly { readonly code: string; readonly words: RegExp; readonly inText: boolean }[] = [
  // PostgreSQL reads a statement up to the character, and what is behind it makes no sense as the rest of the message.
  { code: '08P01', words: /invalid message format|insufficient data left in message/, inText: true },
  // A parameter that is sent beside the statement, as by em.getKysely().
  { code: '22021', words: /: 0x00\b/, inText: false },
  // A JSON property: jsonb keeps texts as the text type does.
  { code: '22P05', words: /\\u0000 cannot be converted/, inText: false },
  // SQLite reads up to the character, where a text has no end.
  { code: 'SQLITE_ERROR', words: /unrecognized token/, inText: true },
]

/**
 * Makes of the error of a statement that holds the character U+0000 one that says so. PostgreSQL calls it a broken protocol, which
 * would pass for a lost connection; its connection stays whole. Any other error is returned as it is.
 */
export function explainNul(error: unknown, { sql }: SentQuery): unknown {
  if (!(error instanceof Error && 'code' in error)) return error
  const said = 'detail' in error ? `${error.message} ${error.detail}` : error.message
  const refusal = refusals.find(({ code, words }) => code === error.code && words.test(said))
  if (refusal === undefined || (refusal.inText && !sql.includes('\0'))) return error
  const table = tableOf(sql)
  return new DataAccessError(
    'TEXT_NOT_STORABLE',
    `A statement${table === undefined ? '' : ` on "${table}"`} has a text with the character U+0000, which the database cannot store or compare; remove the character, or keep bytes in a property of type blob`,
    { cause: error, ...(table === undefined ? {} : { context: { table } }) },
  )
}

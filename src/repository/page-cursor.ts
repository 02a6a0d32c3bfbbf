import { createHash } from 'node:crypto'
import { DataAccessError } from '../errors.ts'

/** What the last row of a page is ordered by: the database's own texts of it, null for null. */
export type PagePosition = readonly (string | null)[]

/** Characters of the checksum: enough to notice damage and mix-ups. It is no signature; a cursor holds nothing secret. */
const checksumLength = 8

/** Makes a cursor of a position, bound to its purpose: {@link openCursor} refuses it for any other. */
export function sealCursor(position: PagePosition, purpose: string): string {
  const cursor = Buffer.from(JSON.stringify(position)).toString('base64url')
  return checksum(cursor, purpose) + cursor
}

/**
 * The position in a cursor that a client sent back.
 *
 * @throws DataAccessError `PAGE_CURSOR_INVALID`.
 */
export function openCursor(sealed: unknown, purpose: string): PagePosition {
  const cursor = typeof sealed === 'string' ? sealed.slice(checksumLength) : ''
  if (cursor === '' || sealed !== checksum(cursor, purpose) + cursor) throw cursorInvalid()
  const position = parse(Buffer.from(cursor, 'base64url').toString())
  if (Array.isArray(position) && position.every((value) => value === null || typeof value === 'string')) return position
  throw cursorInvalid()
}

/** The error for a cursor that does not fit. */
export function cursorInvalid(): DataAccessError {
  return new DataAccessError(
    'PAGE_CURSOR_INVALID',
    'This page cursor is damaged, or belongs to another entity or order. Pass a nextCursor unchanged, or start without one',
  )
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function checksum(cursor: string, purpose: string): string {
  return createHash('sha256').update(purpose).update('\n').update(cursor).digest('base64url').slice(0, checksumLength)
}

import { createHash } from 'node:crypto'
import { DataAccessError } from '../errors.ts'

/** Characters of the checksum: enough to notice damage and mix-ups. It is no signature; a cursor holds nothing secret. */
const checksumLength = 8

/** Binds a cursor to its purpose, so that {@link openCursor} refuses it for any other. */
export function sealCursor(cursor: string, purpose: string): string {
  return checksum(cursor, purpose) + cursor
}

/**
 * Takes the seal off a cursor that a client sent back.
 *
 * @throws DataAccessError `PAGE_CURSOR_INVALID`.
 */
export function openCursor(sealed: unknown, purpose: string): string {
  const cursor = typeof sealed === 'string' ? sealed.slice(checksumLength) : ''
  if (cursor !== '' && sealed === checksum(cursor, purpose) + cursor) return cursor
  throw new DataAccessError(
    'PAGE_CURSOR_INVALID',
    'This page cursor is damaged, or belongs to another entity or order. Pass a nextCursor unchanged, or start without one',
  )
}

function checksum(cursor: string, purpose: string): string {
  return createHash('sha256').update(purpose).update('\n').update(cursor).digest('base64url').slice(0, checksumLength)
}

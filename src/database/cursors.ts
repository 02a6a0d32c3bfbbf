import { isSubmittable, type PgClient } from './pg-client.ts'

/** A cursor of `pg-cursor`, as streams use: it is its own answer, and what is waited for are its reads. */
export interface Cursor {
  /** By which `pg` ends the timer that it sets for `query_timeout`. A cursor never calls it. */
  callback?(): void
  read(...args: unknown[]): unknown
  close(...callback: unknown[]): unknown
}

export function isCursor(query: unknown): query is Cursor {
  return isSubmittable(query) && 'close' in query && 'read' in query
}

/** Lets go of a cursor whose connection has ended: to close it would be to wait for the server's answer for ever. */
export function endCursors(client: PgClient): void {
  const ended = new Promise<void>((resolve) => client.once('end', resolve))
  const query = client.query.bind(client)
  client.query = (...args) => {
    if (isCursor(args[0])) {
      const close = args[0].close.bind(args[0])
      args[0].close = (...callback) => (callback.length > 0 ? close(...callback) : Promise.race([close(), ended]))
    }
    return query(...args)
  }
}

/** Bounds each wait for an answer to a cursor. */
export function boundCursor(cursor: Cursor, bound: (answer: unknown) => unknown): void {
  const [read, close] = [cursor.read.bind(cursor), cursor.close.bind(cursor)]
  cursor.read = (...args) => bound(read(...args))
  cursor.close = (...callback) => bound(close(...callback))
}

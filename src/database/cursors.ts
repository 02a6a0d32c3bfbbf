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

/**
 * Lets go of a cursor whose connection has ended: a cursor that has told its last row answers nothing more, and to close it would be to wait
 * for the server's answer for ever.
 */
export function endCursors(client: PgClient): void {
  const waits = new Set<() => void>()
  client.once('end', () => {
    for (const letGo of waits) letGo()
  })
  const orEnd = (answer: unknown, end: (wait: PromiseWithResolvers<unknown>) => void) => {
    if (!(answer instanceof Promise)) return answer
    const wait = Promise.withResolvers<unknown>()
    const letGo = () => end(wait)
    waits.add(letGo)
    answer.then(wait.resolve, wait.reject)
    return wait.promise.finally(() => waits.delete(letGo))
  }
  const query = client.query.bind(client)
  client.query = (...args) => {
    if (isCursor(args[0])) {
      const [read, close] = [args[0].read.bind(args[0]), args[0].close.bind(args[0])]
      args[0].read = (...rest) =>
        orEnd(read(...rest), ({ reject }) => reject(new Error('Connection terminated while a stream was read')))
      args[0].close = (...rest) => orEnd(close(...rest), ({ resolve }) => resolve(undefined))
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

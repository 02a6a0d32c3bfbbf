import type { Connection } from '@mikro-orm/core'
import { refuseAbortedCommit } from './aborted-commit.ts'
import { saveRoundTrips } from './round-trips.ts'
import { limitAnswers } from './short-statements.ts'

/** The parts of `pg`'s pool and clients that are needed here. */
interface PgPool {
  on(event: 'connect', listener: (client: PgClient) => void): void
}
interface PgClient {
  readonly connection?: { readonly stream?: { destroy(error: unknown): void } }
  query(...args: unknown[]): unknown
  once(event: 'end', listener: () => void): void
}
type Release = (error?: unknown) => void

/** Pools that are watched already. */
const watched = new WeakSet<object>()

/**
 * Gives a connection that ended while somebody held it back to its pool. A transaction whose `begin` or `rollback` fails
 * keeps its connection for ever (Kysely 0.29): each connection lost in a transaction would make the pool one smaller, until
 * nobody gets one.
 */
export async function returnLostConnections(connection: Connection): Promise<void> {
  const pool = (await connection.getNativeClient()) as PgPool
  if (watched.has(pool)) return
  watched.add(pool)
  pool.on('connect', (client) => {
    saveRoundTrips(client)
    refuseAbortedCommit(client)
    limitAnswers(client)
    endWithoutRollback(client)
    let release: Release = () => {}
    // The pool sets a new function at each checkout; the holder may call it after we have.
    Object.defineProperty(client, 'release', {
      configurable: true,
      get: () => release,
      set: (next: Release) => {
        let released = false
        release = (error) => {
          if (released) return
          released = true
          next(error)
        }
      },
    })
    client.once('end', () => release(new Error('The connection has ended')))
  })
}

/** Ends a connection whose `rollback` got no answer, as within the application's own `query_timeout`: nobody else can use it. */
function endWithoutRollback(client: PgClient): void {
  const query = client.query.bind(client)
  client.query = (...args) => {
    const answer = query(...args)
    if (args[0] === 'rollback' && answer instanceof Promise) {
      answer.catch((error: unknown) => client.connection?.stream?.destroy(error))
    }
    return answer
  }
}

import type { Connection } from '@mikro-orm/core'
import { refuseAbortedCommit } from './aborted-commit.ts'
import { endCursors } from './cursors.ts'
import type { PgClient } from './pg-client.ts'
import { notePool, type Pool } from './pool-figures.ts'
import { saveRoundTrips } from './round-trips.ts'
import { liftQueryTimeout, limitAnswers } from './short-statements.ts'

/** The parts of `pg`'s pool that are needed here. */
interface PgPool extends Pool {
  on(event: 'connect', listener: (client: PgClient) => void): void
}
type Release = (error?: unknown) => void

/** Pools that are watched already. */
const watched = new WeakSet<object>()

/** The clients of each connection's pool that have not ended. */
const open = new WeakMap<Connection, ReadonlySet<PgClient>>()

/**
 * Ends what a pool waits for that was told to end: connections that somebody holds. No commit is sent on them any more, of one that was sent the outcome
 * stays unknown, and a server that takes its time, or is out of reach, would keep the process alive.
 */
export function endConnections(connection: Connection): void {
  for (const client of open.get(connection) ?? []) client.connection?.stream?.destroy()
}

/**
 * Gives a connection that ended while somebody held it back to its pool. A transaction whose `begin` or `rollback` fails
 * keeps its connection for ever (Kysely 0.29): each connection lost in a transaction would make the pool one smaller, until
 * nobody gets one.
 */
export async function returnLostConnections(connection: Connection): Promise<void> {
  const pool = (await connection.getNativeClient()) as PgPool
  if (watched.has(pool)) return
  watched.add(pool)
  notePool(connection, pool)
  const clients = new Set<PgClient>()
  open.set(connection, clients)
  pool.on('connect', (client) => {
    clients.add(client)
    liftQueryTimeout(client)
    saveRoundTrips(client)
    refuseAbortedCommit(client)
    limitAnswers(client)
    endUnanswered(client)
    giveLastWords(client)
    endCursors(client)
    endForCertain(client)
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
    client.once('end', () => {
      clients.delete(client)
      release(new Error('The connection has ended'))
    })
  })
}

/** What `pg` says when it waits no longer, as `query_timeout` has it; the server goes on, and the connection would go back to the pool. */
const unanswered = 'Query read timeout'

/** Ends a connection on which an answer did not come within the application's own `query_timeout`, or whose `rollback` failed: nobody else can use it. */
function endUnanswered(client: PgClient): void {
  const query = client.query.bind(client)
  client.query = (...args) => {
    const answer = query(...args)
    if (answer instanceof Promise) {
      answer.catch((error: unknown) => {
        const unusable = args[0] === 'rollback' || (error instanceof Error && error.message === unanswered)
        if (unusable) client.connection?.stream?.destroy(error)
      })
    }
    return answer
  }
}

/**
 * Gives whatever is asked of a connection that has ended the reason for it: between two statements PostgreSQL says why it ends one, and `pg`
 * tells that by an event alone.
 */
function giveLastWords(client: PgClient): void {
  client.once('error', (reason) => {
    const query = client.query.bind(client)
    client.query = (...args) => {
      const answer = query(...args)
      if (!(answer instanceof Promise)) return answer
      return answer.catch((error: unknown) => {
        if (error instanceof Error && error !== reason) error.cause ??= reason
        throw error
      })
    }
  })
}

/** How long the server may take to end a connection in turn, in ms. */
const farewellMs = 1000

/** Ends a connection that was asked to end also where the server does not answer: it would keep the process alive. */
function endForCertain(client: PgClient): void {
  const end = client.end.bind(client)
  client.end = (...args) => {
    const expiry = setTimeout(() => client.connection?.stream?.destroy(), farewellMs).unref()
    client.once('end', () => clearTimeout(expiry))
    return end(...args)
  }
}

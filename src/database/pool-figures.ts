import type { Connection, MikroORM } from '@mikro-orm/core'
import { dialectOf } from './sql.ts'

/** How the database connections are used at this moment. */
export interface PoolFigures {
  /** Connections open now. */
  readonly size: number
  /** The most that may be open. */
  readonly max: number
  /** Open ones that somebody has; on SQLite 1 while a transaction holds the one connection. */
  readonly inUse: number
  /** Open ones that nobody has: `size` less `inUse`. */
  readonly idle: number
  /** Callers that wait for a connection; on SQLite those that wait to begin a transaction. */
  readonly waiting: number
}

/** How busy a SQLite database is: it has one connection, which a transaction holds. */
export interface ConnectionUse {
  readonly transactions: number
  readonly waiting: number
}

/** Reads the live figures: of the `pg` pool on PostgreSQL, of the one connection on SQLite. */
export async function poolFigures(orm: MikroORM, use: ConnectionUse): Promise<PoolFigures> {
  if (dialectOf(orm) === 'sqlite') {
    const inUse = Math.min(use.transactions, 1)
    return { size: 1, max: 1, inUse, idle: 1 - inUse, waiting: use.waiting }
  }
  return figuresOf((await orm.driver.getConnection('write').getNativeClient()) as Pool)
}

const noted = new WeakMap<Connection, Pool>()

/** Keeps the pool of a connection for {@link notedPool}. */
export function notePool(connection: Connection, pool: Pool): void {
  noted.set(connection, pool)
}

/** The live figures of a connection's pool, if it is known. */
export function notedPool(connection: Connection): PoolFigures | undefined {
  const pool = noted.get(connection)
  return pool && figuresOf(pool)
}

function figuresOf({ totalCount: size, idleCount: idle, waitingCount: waiting, options }: Pool): PoolFigures {
  return { size, max: options.max, inUse: size - idle, idle, waiting }
}

/** The figures that a `pg.Pool` shows. */
export interface Pool {
  readonly totalCount: number
  readonly idleCount: number
  readonly waitingCount: number
  readonly options: { readonly max: number }
}

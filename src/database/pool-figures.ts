import type { MikroORM } from '@mikro-orm/core'
import type { ConnectionUse } from './connection-guard.ts'
import { dialectOf } from './sql.ts'

/** How the database connections are used at this moment. */
export interface PoolFigures {
  /** Connections open now. */
  readonly size: number
  /** The most that may be open. */
  readonly max: number
  readonly inUse: number
  readonly idle: number
  /** Callers that wait for a connection. */
  readonly waiting: number
}

/** Reads the live figures: of the `pg` pool on PostgreSQL, of the one connection on SQLite. */
export async function poolFigures(orm: MikroORM, use: ConnectionUse): Promise<PoolFigures> {
  if (dialectOf(orm) === 'sqlite') {
    const inUse = Math.min(use.transactions, 1)
    return { size: 1, max: 1, inUse, idle: 1 - inUse, waiting: use.waiting }
  }
  const pool = (await orm.driver.getConnection('write').getNativeClient()) as PgPool
  const { totalCount: size, idleCount: idle, waitingCount: waiting } = pool
  return { size, max: pool.options.max, inUse: size - idle, idle, waiting }
}

/** The figures that a `pg.Pool` shows. */
interface PgPool {
  readonly totalCount: number
  readonly idleCount: number
  readonly waitingCount: number
  readonly options: { readonly max: number }
}

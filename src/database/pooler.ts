import type { MikroORM } from '@mikro-orm/core'

/** The parts of `pg`'s pool and clients that are needed here. */
interface PgPool {
  connect(): Promise<PgClient>
}
interface PgClient {
  /** What the other end gave as its process when the connection was opened. */
  readonly processID: number | null
  query(sql: string): Promise<{ rows: { pid: number }[] }>
  release(): void
}

/**
 * Tells whether a pooler such as PgBouncer stands between this process and PostgreSQL: it answers the connection itself, so the
 * process that it names is not the one that runs the statements. PostgreSQL only.
 */
export async function standsBehindPooler(orm: MikroORM): Promise<boolean> {
  const pool = (await orm.driver.getConnection('write').getNativeClient()) as PgPool
  const client = await pool.connect()
  try {
    const { rows } = await client.query('select pg_backend_pid() as pid')
    return client.processID !== null && rows[0]?.pid !== client.processID
  } finally {
    client.release()
  }
}

import { createHash, randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import type { MikroORM } from '@mikro-orm/core'
import { inRootContext } from '../kernel/root-context.ts'
import { dialectOf, runSql } from './sql.ts'

const insufficientPrivilege = '42501'

/**
 * A short text that two different databases do not share: of a cluster, database and schema on PostgreSQL, of a file on SQLite, and
 * of this process for one in memory. A copy made by files, such as a physical replica, has that of its original. Who may not ask for the
 * cluster gets another text than who may: compare it only where a difference is safe.
 */
export async function databaseIdentity(orm: MikroORM): Promise<string> {
  // Nobody's transaction, and no query of the caller's.
  const parts = await inRootContext(() => (dialectOf(orm) === 'postgresql' ? onPostgresql(orm) : onSqlite(orm)))
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 10)
}

async function onPostgresql(orm: MikroORM): Promise<unknown> {
  const em = orm.em.fork({ disableContextResolution: true })
  const [names] = await runSql(em, 'select current_database() as name, current_schema() as schema')
  const cluster = await runSql(em, 'select system_identifier::text as cluster from pg_control_system()').catch((error) => {
    if (error?.code === insufficientPrivilege) return []
    throw error
  })
  return [names, cluster]
}

async function onSqlite(orm: MikroORM): Promise<unknown> {
  const em = orm.em.fork({ disableContextResolution: true })
  const [main] = await runSql<{ file: string }>(em, `select file from pragma_database_list where name = 'main'`)
  if (!main?.file) return randomUUID()
  // By whatever path it is reached; another file may have its number, and not its time.
  const { ino, birthtimeNs } = await stat(main.file, { bigint: true })
  return [String(ino), String(birthtimeNs)]
}

import { createHash, randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import type { MikroORM } from '@mikro-orm/core'
import { inRootContext } from '../kernel/root-context.ts'
import { permissionDenied } from './permission-denied.ts'
import { dialectOf, runSql } from './sql.ts'

/**
 * A short text that two different databases do not share: of a cluster, database, schema and role on PostgreSQL, of a file on SQLite, and
 * of this process for one in memory. A copy made by files, such as a physical replica, has that of its original. Who may not ask for the
 * cluster gets another text than who may: compare it only where a difference is safe.
 */
export async function databaseIdentity(orm: MikroORM): Promise<string> {
  // Nobody's transaction, and no query of the caller's.
  const parts = await inRootContext(() => (dialectOf(orm) === 'postgresql' ? onPostgresql(orm) : onSqlite(orm)))
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 10)
}

// What is dropped and made anew has its name again, but not its number, which so asked for needs no right to the catalog. To another role
// row level security may show other rows.
const namesAndNumbers = `
  select current_database() as name, current_schema() as schema, current_user as role, database.objid as database_number,
    to_regnamespace(quote_ident(current_schema()))::oid as schema_number
  from pg_get_object_address('database', array[current_database()::text], '{}') as database`

async function onPostgresql(orm: MikroORM): Promise<unknown> {
  const em = orm.em.fork({ disableContextResolution: true })
  const [names] = await runSql(em, namesAndNumbers)
  const cluster = await runSql(em, 'select system_identifier::text as cluster from pg_control_system()').catch((error) => {
    if (permissionDenied(error) !== undefined) return []
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

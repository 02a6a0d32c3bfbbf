import type { DataAccess } from '../../src/data-access.ts'
import { dialectOf, runSql } from '../../src/database/sql.ts'

/** How often PostgreSQL had to end a transaction of this database since its others waited in a circle; SQLite has one writer at a time. */
export async function countDeadlocks(data: DataAccess): Promise<number> {
  const em = data.fork()
  if (dialectOf(em) === 'sqlite') return 0
  const [row] = await runSql<{ n: string }>(
    em,
    'select deadlocks::text as n from pg_stat_database where datname = current_database()',
  )
  return Number(row?.n)
}

import { setTimeout as delay } from 'node:timers/promises'
import { Migration } from '@mikro-orm/migrations'
import type { AbstractSqlConnection } from '@mikro-orm/sql'
import { createDataAccess } from '../../src/data-access.ts'
import { hasErrorCode } from '../../src/errors.ts'

// Closes a data access on the database of the second argument once it is told to, in the middle of a statement. Ends by itself, with 0 if
// whoever waits for that statement is told of the close.
const [, , whose, url = ''] = process.argv
const sleep = 'select pg_sleep(60)'
class Slow extends Migration {
  override up(): void {
    this.addSql(sleep)
  }
}
const module = { name: 'slow', migrations: { postgresql: [{ name: 'slow', class: Slow }] } }
const data = await createDataAccess({ modules: [module], database: { url }, cache: false })
const works: Readonly<Record<string, () => Promise<unknown>>> = {
  unit: () => data.unitOfWork(({ em }) => em.getConnection().execute(sleep, [], 'all', em.getTransactionContext())),
  migration: () => data.migrate(),
  stream: async () => {
    for await (const _ of (data.fork().getConnection() as AbstractSqlConnection).stream(sleep));
  },
}
const told = works[whose as string]?.().then(
  () => false,
  (error: unknown) => hasErrorCode(error, 'CLOSED'),
)
const running = `select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state = 'active' and query like '%pg_sleep%'`
while ((await data.fork().getConnection().execute(running)).length === 0) await delay(20)
process.once('message', async () => {
  process.disconnect()
  await data.close({ deadline: 100 })
  process.exitCode = (await told) ? 0 : 1
})
process.send?.('ready')

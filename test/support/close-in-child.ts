import { MikroORM } from '@mikro-orm/postgresql'
import { User } from '../../src/assessment/index.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { dataAccess } from '../../src/extension.ts'

// Closes an idle data access on the database of the second argument once it is told to, and then has nothing left to do.
const [, , whose, url] = process.argv as unknown as [string, string, 'own' | 'adopted', string]
const orm =
  whose === 'own'
    ? undefined
    : await MikroORM.init({ clientUrl: url, entities: [User], extensions: [dataAccess()], ensureDatabase: false })
const data = await createDataAccess(orm === undefined ? { database: { url }, cache: false } : { orm, cache: false })
await data.orm.em.fork().getConnection().execute('select 1')
process.once('message', async () => {
  process.disconnect()
  await data.close()
  await orm?.close()
})
process.send?.('ready')

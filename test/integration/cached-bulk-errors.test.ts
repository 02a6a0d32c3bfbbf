import { randomUUID } from 'node:crypto'
import { UniqueConstraintViolationException } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runSql } from '../../src/database/sql.ts'
import { Author, authorPolicy, Book } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround, storeNames } from '../support/cache-ground.ts'
import { openCachedAccess } from '../support/cached-access.ts'

// What the cache does beside a bulk write must not stand in the way of what became of it.
describe.each(cacheCombinations)('the error of a bulk write on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store)
  })
  afterAll(() => ground.close())

  test.each<[string, (em: SqlEntityManager, id: string, email: string) => Promise<unknown>]>([
    ['nativeUpdate()', (em, id, email) => em.nativeUpdate(Author, { id }, { email })],
    ['a query builder', (em, id, email) => em.createQueryBuilder(Author).update({ email }).where({ id }).execute()],
    [
      'a stream of what it writes',
      async (em, id, email) => {
        for await (const _ of em.createQueryBuilder(Author).update({ email }).where({ id }).returning('*').stream());
      },
    ],
  ])('is its own in a transaction that was begun elsewhere: %s', async (_how, write) => {
    const [one, other] = [await ground.author(), await ground.author()]
    const failed = (ground.fork() as SqlEntityManager).getConnection().transactional(async (trx) => {
      const em = ground.fork() as SqlEntityManager
      em.setTransactionContext(trx)
      await write(em, other.id, one.email)
    })
    await expect(failed).rejects.toThrow(/unique/i)
  })
})

test.each(storeNames)('a deferred constraint fails a bulk write by the same error with the %s store', async (store) => {
  const access = await openCachedAccess('postgresql', store, { entities: [Author, Book], caches: [authorPolicy] })
  const { data } = access
  await runSql(data.fork(), 'alter table authors drop constraint authors_email_unique')
  const deferred = 'unique (email) deferrable initially deferred'
  await runSql(data.fork(), `alter table authors add constraint authors_email_unique ${deferred}`)
  for (const email of ['one', 'other']) await access.add([Author, { id: randomUUID(), email, name: 'old' }])
  const failed = data.fork().nativeUpdate(Author, { email: 'other' }, { email: 'one' })
  await expect(failed).rejects.toThrow(UniqueConstraintViolationException)
  await access.close()
})

import { IsolationLevel } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runSql } from '../../src/database/sql.ts'
import { inRootContext } from '../../src/kernel/root-context.ts'
import { Author, latestBook } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { parkNextLoad } from '../support/parked-load.ts'

const patience = { timeout: 20_000, interval: 5 }

// What a transaction sees is its own, and what its commit does to the cache depends on how it ends.
describe.each(cacheCombinations)('transactions and cached reads on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store)
  })
  afterAll(() => ground.close())

  const rename = async (id: string, name: string) => {
    const em = ground.fork()
    ;(await em.findOneOrFail(Author, id)).name = name
    await em.flush()
  }
  const nameOf = async (id: string) => (await ground.cache.cached(Author).get(id))?.name

  if (dialect === 'postgresql') {
    test('a reader in REPEATABLE READ keeps its snapshot for itself, and a lookup outside is current', async () => {
      const { id } = await ground.author({ name: 'old' })
      const reader = ground.fork()
      await reader.transactional(
        async (em) => {
          expect((await em.findOneOrFail(Author, id)).name).toBe('old') // takes the snapshot
          await rename(id, 'new')
          em.clear()
          expect((await ground.cache.cached(Author, { em }).get(id))?.name).toBe('old')
          expect((await ground.cache.cached(Author).get(id))?.name).toBe('old') // the transaction around it counts
          expect(await ground.cache.cached(latestBook, { em }).get({ authorId: id })).toBeNull()
        },
        { isolationLevel: IsolationLevel.REPEATABLE_READ },
      )
      const { misses } = ground.cache.cached(Author).stats()
      expect(await nameOf(id)).toBe('new')
      expect(ground.cache.cached(Author).stats().misses).toBe(misses + 1) // nothing of the snapshot was kept
    })

    test('a deferred constraint that fails at the commit changes nothing that readers see', async () => {
      await runSql(ground.fork(), 'alter table authors add constraint never unique (name) deferrable initially deferred').catch(
        () => undefined,
      )
      const [taken, { id }] = [
        await ground.author({ name: `taken ${crypto.randomUUID()}` }),
        await ground.author({ name: 'kept' }),
      ]
      await ground.cache.cached(Author).get(id)
      await expect(rename(id, taken.name)).rejects.toThrow(/never/)
      expect(await nameOf(id)).toBe('kept')
      expect(await nameOf(id)).toBe('kept')
      await rename(id, 'then changed')
      expect(await nameOf(id)).toBe('then changed')
      await runSql(ground.fork(), 'alter table authors drop constraint never')
    })

    // On SQLite nobody reads while a transaction is open: there is one connection.
    test('a loader parked before a savepoint is released is refused by the commit around it', async () => {
      const { id } = await ground.author({ name: 'old' })
      const { refusedFills } = ground.cache.cached(Author).stats()
      let slow: Promise<unknown> | undefined
      let load: ReturnType<typeof parkNextLoad> | undefined
      await ground.fork().transactional(async (em) => {
        await em.transactional(async (inner) => {
          ;(await inner.findOneOrFail(Author, id)).name = 'new'
        })
        // The savepoint is released, and nobody outside may know of it yet.
        load = parkNextLoad(ground.orm)
        slow = inRootContext(() => ground.cache.cached(Author).get(id)) // as another request would
        await load.parked
      })
      load?.resume()
      expect(await slow).toMatchObject({ name: 'old' }) // it began before the commit
      await expect.poll(() => ground.cache.cached(Author).stats().refusedFills, patience).toBe(refusedFills + 1)
      expect(await nameOf(id)).toBe('new')
    })
  }

  test('a rolled back insert leaves the knowledge that there is no row', async () => {
    const id = crypto.randomUUID()
    expect(await nameOf(id)).toBeUndefined()
    const { negative } = ground.cache.cached(Author).stats()
    await expect(
      ground.fork().transactional(async (em) => {
        em.create(Author, { id, email: `${id}@gone.dev`, name: 'never' } as never)
        await em.flush()
        throw new Error('roll back')
      }),
    ).rejects.toThrow('roll back')
    expect(await nameOf(id)).toBeUndefined()
    expect(ground.cache.cached(Author).stats().negative).toBe(negative + 1)
  })
})

import type { EntityManager } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Author } from '../support/cache-entities.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

let failing: string | undefined

// Nobody tells what such a flush had written when it failed, nor that the transaction commits all the same.
describe.each(cacheCombinations)(
  'a flush that fails half way in a transaction begun elsewhere, on $dialect with $store',
  ({ dialect, store }) => {
    let ground: CacheGround
    const sweepMs = 200
    beforeAll(async () => {
      const afterUpdate = async ({ entity }: { entity: object }) => {
        if (failing !== undefined && (entity as Author).id === failing) throw new Error('a hook failed')
      }
      ground = await openCacheGround(dialect, store, { sweepMs, subscribers: [{ afterUpdate }] })
    })
    afterAll(() => ground.close())

    const nameOf = async (id: string) => (await ground.cache.cached(Author).get(id))?.name
    const renameAndFail = async (em: EntityManager, id: string) => {
      ;(await em.findOneOrFail(Author, id)).name = 'new'
      failing = id
      await expect(em.flush()).rejects.toThrow('a hook failed')
      failing = undefined
    }

    test('expires what it was to write', async () => {
      const { id } = await ground.author({ name: 'old' })
      expect(await nameOf(id)).toBe('old')
      await (ground.fork() as SqlEntityManager).getConnection().transactional(async (trx) => {
        const em = ground.fork()
        em.setTransactionContext(trx)
        await renameAndFail(em, id)
      })
      await vi.waitFor(async () => expect(await nameOf(id)).toBe('new'), { timeout: 20 * sweepMs, interval: 20 })
    })

    test('and nothing where the flush has its own transaction, which is rolled back', async () => {
      const { id } = await ground.author({ name: 'old' })
      await nameOf(id)
      const { keys } = ground.cache.stats().invalidations
      await renameAndFail(ground.fork(), id)
      expect(await nameOf(id)).toBe('old')
      expect(ground.cache.stats().invalidations.keys).toBe(keys)
    })
  },
)

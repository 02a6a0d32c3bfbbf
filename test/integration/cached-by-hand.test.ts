import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { runSql } from '../../src/database/sql.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { Label, memberPolicy, relationEntities } from '../support/cache-relation-entities.ts'

/** On an entity that has no policy, so that nothing can be expired by the entity. */
const texts = cachedQuery({
  name: 'texts',
  dependsOn: ({ text }: { text: string }) => [dep(Label, { text })],
  run: async (em, { text }) => (await em.find(Label, { text }, { orderBy: { id: 1 } })).map(({ id }) => id),
})

describe.each(cacheCombinations)('what is expired by hand on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store, { entities: relationEntities, caches: [memberPolicy, texts] })
  })
  afterAll(() => ground.close())

  test('may be all results of a query, whatever its parameters', async () => {
    const read = async () => [
      await ground.cache.cached(texts).get({ text: 'a' }),
      await ground.cache.cached(texts).get({ text: 'b' }),
    ]
    expect(await read()).toEqual([[], []])
    await runSql(ground.fork(), `insert into labels (id, text) values (1, 'a'), (2, 'b')`)
    expect(await read()).toEqual([[], []])
    await ground.cache.cached(texts).invalidateAll()
    expect(await read()).toEqual([[1], [2]])
    await ground.fork().transactional(async (em) => {
      await runSql(em, 'delete from labels')
      await ground.cache.cached(texts, { em }).invalidateAll()
    })
    expect(await read()).toEqual([[], []])
  })
})

import type { EventSubscriber, FlushEventArgs } from '@mikro-orm/core'
import { afterEach, describe, expect, test } from 'vitest'
import type { CacheStore } from '../../src/cache/cache-store.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { Author, authorPolicy, bookPolicy } from '../support/cache-entities.ts'
import { type CacheGround, type CacheGroundOptions, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'
import { Profile, relationEntities, Team } from '../support/cache-relation-entities.ts'
import { dialects, type TestDialect } from '../support/databases.ts'

const named = cachedQuery({
  name: 'named',
  dependsOn: (params: { name: string }) => [dep(Author, { name: params.name })],
  run: async (em, { name }) => (await em.find(Author, { name }, { orderBy: { email: 1 } })).map(({ email }) => email),
})
const [teamPolicy, profilePolicy] = [cachePolicy(Team), cachePolicy(Profile)]
const caches = [authorPolicy, bookPolicy, named, teamPolicy, profilePolicy] as never

let ground: CacheGround
afterEach(() => ground.close())

const open = (dialect: TestDialect, store: 'memory' | 'redis', options: CacheGroundOptions = {}) =>
  openCacheGround(dialect, store, { caches, entities: relationEntities, ...options })

const emails = ['a@x.dev', 'b@x.dev', 'c@x.dev', 'd@x.dev']
/** What the cache tells of authors, by each way to ask for it. */
async function told(ids: readonly string[]) {
  const cached = ground.cache.cached(authorPolicy)
  const rows = (await cached.getMany([...ids] as never)) as readonly Author[]
  const found: unknown[] = []
  for (const email of emails) found.push((await cached.byEmail(email))?.id)
  return { rows: rows.map(({ email }) => email), found }
}

// MikroORM writes only the first of them at its place, and puts off the others.
describe.each(cacheCombinations)(
  'rows that change a unique property in one flush, on $dialect with $store,',
  ({ dialect, store }) => {
    test.each([
      { how: 'to new values', to: ['c@x.dev', 'd@x.dev'] },
      { how: 'to one that another row gives up', to: ['c@x.dev', 'a@x.dev'] },
    ])('expire all, $how', async ({ to }) => {
      ground = await open(dialect, store)
      const ids = [(await ground.author({ email: 'a@x.dev' })).id, (await ground.author({ email: 'b@x.dev' })).id]
      expect(await told(ids)).toEqual({ rows: ['a@x.dev', 'b@x.dev'], found: [...ids, undefined, undefined] })
      const em = ground.fork()
      for (const [index, id] of ids.entries()) (await em.findOneOrFail(Author, id)).email = to[index] as string
      await em.flush()
      expect(await told(ids)).toEqual({ rows: to, found: emails.map((email) => ids[to.indexOf(email)]) })
    })

    test('expire what depends on the values that they had before the flush, in whatever steps it writes them', async () => {
      ground = await open(dialect, store)
      const ids = [(await ground.author({ name: 'old' })).id, (await ground.author({ name: 'old' })).id]
      const cached = ground.cache.cached(named)
      const em = ground.fork()
      const authors = await em.find(Author, ids)
      await ground.fork().nativeUpdate(Author, ids, { name: 'moved' })
      expect(await cached.get({ name: 'moved' })).toHaveLength(2)
      expect(await cached.get({ name: 'new' })).toHaveLength(0)
      for (const author of authors) Object.assign(author, { name: 'new', email: `${author.id}@x.dev` })
      await em.flush()
      expect(await cached.get({ name: 'moved' })).toEqual([])
      expect(await cached.get({ name: 'new' })).toEqual(ids.toSorted().map((id) => `${id}@x.dev`))
    })

    test('expire what depends on their values also where another subscriber adds them to the flush', async () => {
      ground = await open(dialect, store)
      const [author, other] = [await ground.author({ name: 'old' }), await ground.author({ name: 'other' })]
      const cached = ground.cache.cached(named)
      const em = ground.fork()
      const touched = await em.findOneOrFail(Author, author.id)
      touched.name = 'first'
      await em.flush()
      await ground.fork().nativeUpdate(Author, author.id, { name: 'moved' })
      expect(await cached.get({ name: 'moved' })).toHaveLength(1)
      // It hears of flushes behind the cache.
      em.getEventManager().registerSubscriber({
        onFlush: ({ em: flushing, uow }: FlushEventArgs) => {
          if (flushing !== em) return
          touched.name = 'last'
          uow.computeChangeSet(touched)
        },
      } as EventSubscriber)
      ;(await em.findOneOrFail(Author, other.id)).rating = 7
      await em.flush()
      expect((await ground.fork().findOneOrFail(Author, author.id)).name).toBe('last')
      expect(await cached.get({ name: 'moved' })).toEqual([])
    })

    test('expire the rows on the inverse side of a one-to-one relation, of each that moves', async () => {
      ground = await open(dialect, store)
      const em = ground.fork()
      for (const id of [1, 2, 3, 4]) em.create(Team, { id, name: 'team' })
      for (const id of [1, 2]) em.create(Profile, { id, team: id, bio: 'bio' })
      await em.flush()
      const profiles = async () => (await ground.cache.cached(profilePolicy).getMany([1, 2])).map((profile) => profile?.team?.id)
      const teams = async () => (await ground.cache.cached(teamPolicy).getMany([1, 2, 3, 4])).map((team) => team?.profile?.id)
      expect([await profiles(), await teams()]).toEqual([
        [1, 2],
        [1, 2, undefined, undefined],
      ])
      const moving = ground.fork()
      for (const profile of await moving.find(Profile, [1, 2]))
        profile.team = moving.getReference(Team, profile.id + 2, { wrapped: true })
      await moving.flush()
      expect([await profiles(), await teams()]).toEqual([
        [3, 4],
        [undefined, undefined, 1, 2],
      ])
    })
  },
)

test.each(dialects)(
  'a flush on %s asks once what rows had that it writes in two steps, and expires no others',
  async (dialect) => {
    const expired: string[] = []
    const around = (store: CacheStore) => {
      const invalidate = store.invalidate.bind(store)
      store.invalidate = (keys) => {
        expired.push(...keys)
        return invalidate(keys)
      }
      return store
    }
    ground = await open(dialect, 'memory', { around })
    const ids = [(await ground.author()).id, (await ground.author()).id]
    const em = ground.fork()
    for (const author of await em.find(Author, ids)) Object.assign(author, { name: 'new', email: `${author.id}@x.dev` })
    expired.length = 0
    ground.takeQueries()
    await em.flush()
    const queries = ground.takeQueries()
    const asked = queries.filter((query) => /\bselect\b/.test(query))
    expect(asked).toHaveLength(1)
    // Not to be made stronger later, when somebody waits for it who holds a weaker one.
    if (dialect === 'postgresql') expect(asked[0]).toMatch(/order by "id" for update\b/)
    expect(queries.filter((query) => /update .authors. set .*email/.test(query))).toHaveLength(2)
    expect(expired.filter((key) => key.endsWith('#*'))).toEqual([])
  },
)

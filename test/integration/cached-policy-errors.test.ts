import { defineEntity, p } from '@mikro-orm/core'
import { afterEach, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { Author, Book, booksOf } from '../support/cache-entities.ts'
import { type CacheGround, openCacheGround } from '../support/cache-ground.ts'

let ground: CacheGround | undefined
afterEach(() => ground?.close())

test('what is not among the caches of a module is named, with what to add', async () => {
  ground = await openCacheGround('sqlite', 'memory', { caches: [cachePolicy(Author)] })
  const { cache } = ground
  expect(() => cache.cached(Book)).toThrow(
    'Book has no cache policy among the caches of any module; add cachePolicy(Book, { ttl: 60_000 }) to the caches of one (CACHE_POLICY_MISSING)',
  )
  expect(() => cache.cached(booksOf)).toThrow(
    'The cached query booksOf is not among the caches of any module; add booksOf to the caches of one (CACHE_POLICY_MISSING)',
  )
})

test('a unique property that the entity does not have is compared with those that it has', async () => {
  const uniques = ['emial'] as never
  await expect(openCacheGround('sqlite', 'memory', { caches: [cachePolicy(Author, { uniques })] })).rejects.toThrow(
    'The cache policy of Author lists emial, which is no unique property of it; did you mean `email`? (OPTION_INVALID)',
  )
})

// MikroORM tells classes apart, not names: two modules may have an `Item` each.
function itemIn(tableName: string) {
  const ItemSchema = defineEntity({ name: 'Item', tableName, properties: { id: p.integer().primary() } })
  class Item extends ItemSchema.class {}
  ItemSchema.setClass(Item)
  return Item
}
const [ShopItem, TodoItem] = [itemIn('shop_items'), itemIn('todo_items')]
const todos = cachedQuery({ name: 'todos', dependsOn: () => [dep(TodoItem)], run: (em) => em.count(TodoItem) })

test.each([
  ['a policy', cachePolicy(ShopItem), 'shop_items and todo_items'],
  ['a dependency of a query', todos, 'todo_items and shop_items'],
])('the entity of %s is refused when another one has its name', async (_what, cache, tables) => {
  const opened = openCacheGround('sqlite', 'memory', { entities: [ShopItem, TodoItem], caches: [cache] })
  await expect(opened).rejects.toThrow(
    `Two entities are named Item, of the tables ${tables}, and the cache would take the rows of one for those of the other; give one another name (OPTION_INVALID)`,
  )
})

test('an embeddable of the name of a cached entity is none', async () => {
  const AuthorData = defineEntity({ name: 'Author', embeddable: true, properties: { since: p.integer() } })
  const Club = defineEntity({ name: 'Club', properties: { id: p.integer().primary(), head: () => p.embedded(AuthorData) } })
  ground = await openCacheGround('sqlite', 'memory', { entities: [Club, AuthorData], caches: [cachePolicy(Author)] })
  expect(ground.cache.stats().caches).toHaveProperty('Author')
})

test('entities of one name that nobody caches are left alone', async () => {
  ground = await openCacheGround('sqlite', 'memory', { entities: [ShopItem, TodoItem], caches: [cachePolicy(Author)] })
  const em = ground.fork()
  em.create(TodoItem, { id: 1 })
  await em.flush()
  expect(await em.fork().count(ShopItem)).toBe(0)
})

import { defineEntity, p, type Ref } from '@mikro-orm/core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

/** Its relations to one are found through other entities, and no column of it holds them. */
const CustomerSchema = defineEntity({
  name: 'Customer',
  tableName: 'customers',
  properties: {
    id: p.integer().primary(),
    latest: () =>
      p
        .manyToOne(Purchase)
        .through(() => Purchase)
        .orderBy({ id: 'desc' } as never)
        .nullable(),
    cheap: () =>
      p
        .oneToOne(Purchase)
        .through(() => Purchase)
        .where({ total: 1 } as never)
        .nullable(),
    shop: () =>
      p
        .manyToOne(Shop)
        .through(() => Visit)
        .nullable(),
  } as never,
})
class Customer extends (CustomerSchema.class as unknown as new () => {
  id: number
  latest: Purchase | null
  cheap: Purchase | null
  shop: Shop | null
}) {}
CustomerSchema.setClass(Customer as never)

const PurchaseSchema = defineEntity({
  name: 'Purchase',
  tableName: 'purchases',
  properties: {
    id: p.integer().primary(),
    customer: () => p.manyToOne(Customer as never).deleteRule('cascade'),
    total: p.integer(),
  } as never,
})
class Purchase extends (PurchaseSchema.class as unknown as new () => { id: number; customer: Ref<Customer>; total: number }) {}
PurchaseSchema.setClass(Purchase as never)

const ShopSchema = defineEntity({ name: 'Shop', tableName: 'shops', properties: { id: p.integer().primary() } })
class Shop extends ShopSchema.class {}
ShopSchema.setClass(Shop)

const VisitSchema = defineEntity({
  name: 'Visit',
  tableName: 'shop_visits',
  properties: {
    id: p.integer().primary(),
    customer: () => p.manyToOne(Customer as never),
    shop: () => p.manyToOne(Shop).deleteRule('cascade'),
  } as never,
})
class Visit extends (VisitSchema.class as unknown as new () => { id: number }) {}
VisitSchema.setClass(Visit as never)

const entities = [CustomerSchema, PurchaseSchema, ShopSchema, VisitSchema] as never[]
const customerPolicy = cachePolicy(Customer)

describe.each(cacheCombinations)('relations through an entity on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  let id = 0
  beforeAll(async () => {
    ground = await openCacheGround(dialect, store, { entities, caches: [customerPolicy] })
  })
  afterAll(() => ground.close())
  const add = async (entity: new () => object, values: object) => {
    const em = ground.fork()
    em.create(entity, values as never)
    await em.flush()
  }
  beforeEach(async () => {
    id += 10
    await add(Customer, { id })
    await add(Purchase, { id, customer: id, total: 5 })
  })
  const cached = async () => {
    const idsOf = ({ latest, cheap, shop }: Customer) => ({ latest: latest?.id, cheap: cheap?.id, shop: shop?.id })
    const kept = idsOf(await ground.cache.cached(Customer).getOrFail(id))
    expect(kept).toEqual(idsOf(await ground.fork().findOneOrFail(Customer, id)))
    return kept
  }
  const change = async (run: (found: Purchase) => void) => {
    const em = ground.fork()
    run(await em.findOneOrFail(Purchase, id))
    await em.flush()
  }

  test('show a row that is inserted, and expire no others', async () => {
    await add(Customer, { id: id + 1 })
    await ground.cache.cached(Customer).getOrFail(id + 1)
    expect(await cached()).toMatchObject({ latest: id, cheap: undefined })
    await add(Purchase, { id: id + 1, customer: id, total: 1 })
    expect(await cached()).toMatchObject({ latest: id + 1, cheap: id + 1 })
    const { misses } = ground.cache.cached(Customer).stats()
    await ground.cache.cached(Customer).getOrFail(id + 1)
    expect(ground.cache.cached(Customer).stats().misses).toBe(misses)
  })

  test('show one that is updated or deleted, one by one and in bulk', async () => {
    expect(await cached()).toMatchObject({ latest: id, cheap: undefined })
    await change((found) => Object.assign(found, { total: 1 }))
    expect(await cached()).toMatchObject({ cheap: id })
    await ground.fork().nativeUpdate(Purchase, { id }, { total: 2 })
    expect(await cached()).toMatchObject({ cheap: undefined })
    await ground.fork().insert(Purchase, { id: id + 1, customer: id, total: 1 } as never)
    expect(await cached()).toMatchObject({ latest: id + 1, cheap: id + 1 })
    const em = ground.fork()
    em.remove(await em.findOneOrFail(Purchase, id + 1))
    await em.flush()
    expect(await cached()).toMatchObject({ latest: id, cheap: undefined })
    await ground.fork().nativeDelete(Purchase, { id })
    expect(await cached()).toMatchObject({ latest: undefined })
  })

  test('show what the database deletes', async () => {
    await add(Shop, { id })
    await add(Visit, { id, customer: id, shop: id })
    expect(await cached()).toMatchObject({ shop: id })
    await ground.fork().nativeDelete(Shop, { id })
    expect(await cached()).toMatchObject({ shop: undefined })
  })
})

test.each([
  ['latest', 'dep(Purchase, { customer: … })'],
  ['cheap', 'dep(Purchase, { customer: … })'],
  ['shop', 'dep(Visit, { customer: … })'],
])('a dependency on such a relation is refused, and the message says on what to depend instead: %s', async (name, cure) => {
  const query = cachedQuery({ name: 'refused', dependsOn: () => [dep(Customer, { [name]: 1 })], run: async () => [] })
  const opened = openCacheGround('sqlite', 'memory', { entities, caches: [query] as never[] })
  await expect(opened).rejects.toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining(cure) })
})

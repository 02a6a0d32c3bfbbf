import { defineEntity, p } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

// Values that the database takes for equal, and that are different texts.
const ways = {
  sqlite: { columnType: 'text collate nocase', written: 'ann', asked: 'ANN' },
  postgresql: { columnType: 'char(8)', written: 'ann', asked: 'ann ' },
} as const

describe.each(dialects)('values that are spelled in several ways, on %s', (dialect) => {
  const { columnType, written, asked } = ways[dialect]
  const ItemSchema = defineEntity({
    name: 'Item',
    properties: {
      id: p.string().columnType(columnType).primary(),
      label: p.string().columnType(columnType).unique(),
      price: p.decimal().precision(8).scale(2).$type<string>().unique(),
      count: p.integer().default(0),
      sold: p.boolean().default(false),
      name: p.string(),
    },
  })
  class Item extends ItemSchema.class {}
  ItemSchema.setClass(Item)
  const PartSchema = defineEntity({
    name: 'Part',
    properties: {
      id: p.integer().primary(),
      count: p.integer(),
      price: p.decimal().precision(8).scale(2).$type<string>(),
    },
  })
  class Part extends PartSchema.class {}
  PartSchema.setClass(Part)
  const partsBy = cachedQuery({
    name: 'partsBy',
    dependsOn: (values: { count: number; price: string }) => [dep(Part, { count: values.count, price: values.price })],
    run: (em, values) => em.count(Part, values),
  })
  const itemCache = cachePolicy(Item, { uniques: ['label', 'price'] })
  type Values = Partial<Record<'label' | 'price' | 'count' | 'sold', unknown>>
  const itemsBy = (...names: (keyof Values)[]) =>
    cachedQuery({
      name: `itemsBy ${names}`,
      dependsOn: (values: Values) => [dep(Item, Object.fromEntries(names.map((name) => [name, values[name]])) as never)],
      run: async (em, values) => (await em.find(Item, values as never)).map(({ name }) => name),
    })
  const queries = {
    label: itemsBy('label'),
    price: itemsBy('price'),
    count: itemsBy('count'),
    sold: itemsBy('sold'),
    'price,count': itemsBy('price', 'count'),
  }
  let database: TestDatabase
  let data: DataAccess
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    data = await createDataAccess({
      modules: [{ name: 'items', entities: [Item, Part], caches: [itemCache, partsBy, ...Object.values(queries)] }],
      database: { url: database.url },
      cache: memoryCache({ singleProcess: true }),
    })
    await data.migrate()
    await data.orm.schema.update()
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })
  const add = () =>
    data.unitOfWork(async ({ em }) => {
      em.create(Item, { id: written, label: written, price: '1.5', count: 7, sold: true, name: 'old' })
    })
  const rename = (name: string) =>
    data.unitOfWork(async ({ em }) => {
      ;(await em.findOneOrFail(Item, { count: 7 })).name = name
    })

  test.each([
    ['an id', () => data.cached(itemCache).get(asked)],
    ['a unique text', () => data.cached(itemCache).byLabel(asked)],
    ['a unique decimal', () => data.cached(itemCache).byPrice('01.50')],
  ])('of %s: none is found only until one comes, and it is found as it is', async (_kind, read) => {
    expect(await read()).toBeNull()
    expect(await read()).toBeNull()
    await add()
    expect((await read())?.name).toBe('old')
    expect((await read())?.name).toBe('old')
    await rename('new')
    expect((await read())?.name).toBe('new')
  })

  test.each([
    ['a text', { label: asked }],
    ['a decimal', { price: '01.50' }],
    ['a whole number', { count: '07' }],
    ['a truth', { sold: true }],
    ['one of them together with another value', { price: '01.50', count: 7 }],
  ])('of %s: a query that depends on it is run again after a commit', async (_kind, values) => {
    const query = queries[Object.keys(values).join() as keyof typeof queries]
    const read = () => data.cached(query).get(values)
    expect(await read()).toEqual([])
    await add()
    expect(await read()).toEqual(['old'])
    expect(await read()).toEqual(['old'])
    await rename('new')
    expect(await read()).toEqual(['new'])
  })

  test('a row is read anew that was changed under another spelling of its id', async () => {
    await add()
    const id = dialect === 'sqlite' ? written : written.padEnd(8)
    expect((await data.cached(itemCache).get(id))?.name).toBe('old')
    await data.unitOfWork(async ({ em }) => {
      em.getReference(Item, asked).name = 'new'
    })
    expect((await data.cached(itemCache).get(id))?.name).toBe('new')
  })

  test('a value of one spelling keeps a result through changes of rows that have another one', async () => {
    const addParts = (...parts: { count: number; price: string }[]) =>
      data.unitOfWork(async ({ em }) => void parts.map((part) => em.create(Part, part)))
    await addParts({ count: 7, price: '1.5' })
    const cached = data.cached(partsBy)
    const misses = async (count: number, price: string) => {
      const before = cached.stats().misses
      await cached.get({ count, price })
      return cached.stats().misses - before
    }
    expect(await misses(7, '1.50')).toBe(1)
    await addParts({ count: 8, price: '1.5' })
    expect(await misses(7, '1.50')).toBe(0)
    await addParts({ count: 7, price: '2.5' })
    expect(await misses(7, '1.50')).toBe(1)
  })
})

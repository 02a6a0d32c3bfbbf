import { defineEntity, type EntityManager, type Opt, p } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

const StockSchema = defineEntity({
  name: 'Stock',
  tableName: 'stocks',
  properties: {
    id: p.integer().primary(),
    onHand: p.integer(),
    name: p.text(),
    lower: p.text().$type<Opt<string>>().generated('(lower(name)) stored').nullable(),
    version: p.integer().$type<Opt<number>>().version(),
  },
})
class Stock extends StockSchema.class {}
StockSchema.setClass(Stock)

describe.each(dialects)('the version and generated columns of an entity on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    const stock = { name: 'stock', entities: [Stock] }
    data = await createDataAccess({ modules: [stock], database: { url: database.url }, cache: false })
    await data.migrate()
    await data.orm.schema.update()
    await data.unitOfWork(async ({ em }) => void em.create(Stock, { id: 1, onHand: 100, name: 'A' }))
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  const take = {
    found: (em: EntityManager) => em.findOneOrFail(Stock, 1),
    created: async (em: EntityManager) => em.create(Stock, { id: 2, onHand: 100, name: 'A' }),
    changed: async (em: EntityManager) => {
      const item = await em.findOneOrFail(Stock, 1)
      item.name = 'C'
      return item
    },
  }
  const failing = async (item: Stock, flush: boolean) => {
    const nested = data.unitOfWork(async ({ em }) => {
      Object.assign(item, { onHand: 10, name: 'B' })
      if (flush) await em.flush()
      throw new Error('only the savepoint')
    })
    await expect(nested).rejects.toThrow('only the savepoint')
  }

  it.each(['found', 'created', 'changed'] as const)(
    'are those of the row after a nested unit was rolled back, when it was %s',
    async (how) => {
      const seen = (item: Stock) => ({ name: item.name, lower: item.lower, version: item.version })
      const read = (em: EntityManager, id: number) => em.findOneOrFail(Stock, id, { disableIdentityMap: true })
      const id = how === 'created' ? 2 : 1
      await data.unitOfWork(async ({ em }) => {
        const item = await take[how](em)
        for (const flush of [false, true, true]) {
          await failing(item, flush)
          expect(seen(item)).toEqual(seen(await read(em, id)))
        }
        // The optimistic lock asks for the version that is remembered.
        item.onHand -= 1
      })
      expect(await read(data.fork(), id)).toMatchObject({ onHand: 99, lower: how === 'changed' ? 'c' : 'a' })
    },
  )
})

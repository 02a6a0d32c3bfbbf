import { defineEntity, p } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

const PurchaseSchema = defineEntity({
  name: 'Purchase',
  properties: { id: p.integer().primary(), text: p.string(), customer: () => p.manyToOne(CustomerSchema as never) },
})
class Purchase extends PurchaseSchema.class {}
PurchaseSchema.setClass(Purchase)

class Customer {
  id!: number
  latest?: Purchase
}
const CustomerSchema = defineEntity({
  class: Customer,
  properties: {
    id: p.integer().primary(),
    latest: () =>
      p
        .manyToOne(Purchase)
        .through(() => Purchase)
        .orderBy({ id: 'desc' })
        .nullable(),
  },
} as never)

describe.each(dialects)('a relation that is a formula, in what a rolled-back unit had loaded, on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    const shop = { name: 'shop', entities: [CustomerSchema, Purchase] as never }
    data = await createDataAccess({ modules: [shop], database: { url: database.url }, cache: false })
    await data.migrate()
    await data.orm.schema.update()
    const em = data.fork()
    em.create(Customer, { id: 1 } as never)
    for (const id of [1, 2]) em.create(Purchase, { id, text: `${id}`, customer: 1 } as never)
    await em.flush()
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  it('leads to what the outer unit has of it, and edits of that are written', async () => {
    await data.unitOfWork(async ({ em }) => {
      let customer: Customer | undefined
      const nested = data.unitOfWork(async (unit) => {
        customer = await unit.em.findOneOrFail(Customer, 1)
        throw new Error('of the work')
      })
      await expect(nested).rejects.toThrow('of the work')
      const latest = await em.findOneOrFail(Purchase, 2)
      expect(customer?.latest).toBe(latest)
      Object.assign(customer?.latest as Purchase, { text: 'edited' })
    })
    expect((await data.fork().findOneOrFail(Purchase, 2)).text).toBe('edited')
  })
})

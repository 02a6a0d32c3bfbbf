import { defineEntity, p } from '@mikro-orm/core'
import * as v from 'valibot'
import { expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { defineEvent } from '../../src/outbox/event/define-event.ts'
import { MemoryPublisher } from '../../src/testing/memory-publisher.ts'

test('an entity without a class of its own is cached, queried and told of by its schema', async () => {
  const Invoice = defineEntity({
    name: 'Invoice',
    properties: { id: p.integer().primary(), number: p.string().unique(), cents: p.integer() },
  })
  const InvoicePaid = defineEvent({ type: 'InvoicePaid', aggregate: Invoice, payload: v.object({ cents: v.number() }) })
  const invoices = cachePolicy(Invoice, { uniques: ['number'] })
  const large = cachedQuery({
    name: 'largeInvoices',
    dependsOn: (_: { above: number }) => [dep(Invoice)],
    run: (em, { above }) => em.find(Invoice, { cents: { $gt: above } }),
  })
  const data = await createDataAccess({
    modules: [{ name: 'billing', entities: [Invoice], events: [InvoicePaid], caches: [invoices, large] }],
  })
  await data.migrate()
  await data.orm.schema.update()
  const invoice = await data.unitOfWork(async ({ em }) => em.create(Invoice, { id: 1, number: 'A-1', cents: 100 }))
  const read = async () => [
    (await data.cached(Invoice).getOrFail(1)).cents,
    (await data.cached(invoices).byNumber('A-1'))?.cents,
    (await data.cached(large).get({ above: 100 })).map(({ cents }) => cents),
  ]
  expect(await read()).toEqual([100, 100, []])
  await data.unitOfWork(async ({ em, record }) => {
    const found = await em.findOneOrFail(Invoice, 1)
    found.cents = 200
    record(InvoicePaid, found, { cents: 200 })
  })
  expect(await read()).toEqual([200, 200, [200]])
  expect(await read()).toEqual([200, 200, [200]])
  expect(data.cached(Invoice).stats().hits).toBeGreaterThan(0)

  expect([InvoicePaid.aggregateType, InvoicePaid.aggregate]).toEqual(['Invoice', Invoice.class])
  const publisher = new MemoryPublisher()
  await data.outbox.relay({ publisher }).drain()
  expect(publisher.published).toMatchObject([{ aggregateType: 'Invoice', aggregateId: '1', orderingKey: 'Invoice:1' }])
  expect(invoice.cents).toBe(100)
  await data.close()
})

test('a schema that is cached and told of before it gets its class is that of its class', async () => {
  const BillSchema = defineEntity({ name: 'Bill', properties: { id: p.integer().primary() } })
  const BillSent = defineEvent({ type: 'BillSent', aggregate: BillSchema, payload: v.object({}) })
  const bills = cachePolicy(BillSchema)
  class Bill extends BillSchema.class {}
  BillSchema.setClass(Bill)
  await using data = await createDataAccess({
    modules: [{ name: 'billing', entities: [Bill], events: [BillSent], caches: [bills] }],
  })
  await data.migrate()
  await data.orm.schema.update()
  await data.unitOfWork(async ({ em, record }) => record(BillSent, em.create(Bill, { id: 1 }), {}))
  expect(await data.cached(Bill).getOrFail(1)).toBeInstanceOf(Bill)
  expect(BillSent.aggregate).toBe(Bill)
})

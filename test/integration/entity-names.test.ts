import { defineEntity, MetadataStorage, p } from '@mikro-orm/core'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { cachePolicy } from '../../src/cache/policy.ts'
import { createDataAccess } from '../../src/data-access.ts'
import { entityNameOf } from '../../src/database/entity-name.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { defineEvent } from '../../src/outbox/event/define-event.ts'
import { type OutboxEvent, permanent } from '../../src/outbox/publishing/publisher.ts'
import { DataRepository } from '../../src/repository/data-repository.ts'
import type { UnitOfWorkContext } from '../../src/unit-of-work/unit-of-work.ts'
import { cacheCombinations } from '../support/cache-ground.ts'
import { openCachedAccess } from '../support/cached-access.ts'
import { dialects, openTestDatabase } from '../support/databases.ts'
import { closesOpened } from '../support/opened.ts'

const opened = closesOpened()

/** An entity whose class has the name that a build of the program gives it; another build gives another one. */
function built(entity: string, className: string) {
  const schema = defineEntity({ name: entity, properties: { id: p.integer().primary(), tenant: p.string() } })
  const Built = { [className]: class extends schema.class {} }[className] as typeof schema.class
  schema.setClass(Built)
  return Built
}

const Empty = z.object({})
const placed = (aggregate: ReturnType<typeof built>) => defineEvent({ type: 'OrderPlaced', aggregate, payload: Empty })

test('an abstract entity of decorators is known by its class', () => {
  abstract class Animal {}
  // As its decorators do; MikroORM discovers no more of it.
  Object.defineProperty(Animal, MetadataStorage.META_SYMBOL, { value: {} })
  expect(entityNameOf(Animal)).toBe('Animal')
  expect(entityNameOf(class Stone {})).toBeUndefined()
})

describe.each(dialects)('an aggregate on %s is known by the name of its entity', (dialect) => {
  test('and not of its class, so two builds have one key, and a dead letter is found by it', async () => {
    const database = opened(await openTestDatabase(dialect))
    for (const className of ['n', 'r', 'OrderEntity']) {
      const Order = built('Order', className)
      const OrderPlaced = placed(Order)
      expect(OrderPlaced.aggregateType).toBe('Order')
      const shop = { name: 'shop', entities: [Order], events: [OrderPlaced] }
      const data = opened(
        await createDataAccess({ modules: [shop], database: { url: database.url }, cache: false, logger: silentLogger }),
      )
      await data.migrate()
      await data.orm.schema.update()
      const tenant = className
      await data.unitOfWork(async ({ em, record }) => {
        await em.nativeDelete(Order, {})
        record(OrderPlaced, em.create(Order, { id: 7, tenant }), {})
        record(OrderPlaced, 7, {})
      })
      const told: unknown[] = []
      const publisher = ({ aggregateType, orderingKey }: OutboxEvent) => {
        told.push([aggregateType, orderingKey])
        throw permanent('no')
      }
      await data.outbox.relay({ publisher }).drain()
      expect(told).toEqual(Array(2).fill(['Order', 'Order:7']))
      expect(await data.outbox.deadLetters.discard({ aggregateType: 'Order' })).toBe(2)
    }
  })
})

test('two classes of one name are two aggregates, if their entities have two names', async () => {
  const [Shop, Billing] = [built('ShopOrder', 'Order'), built('BillingOrder', 'Order')]
  const Billed = defineEvent({ type: 'Billed', aggregate: Billing, payload: Empty })
  const modules = [{ name: 'm', entities: [Shop, Billing], events: [placed(Shop), Billed] }]
  const data = opened(await createDataAccess({ modules }))
  await data.migrate()
  const keys = await data.unitOfWork(async ({ record }) => [
    record(modules[0]?.events[0] as never, 1, {}).orderingKey,
    record(Billed, 1, {}).orderingKey,
  ])
  expect(keys).toEqual(['ShopOrder:1', 'BillingOrder:1'])
})

test('two aggregates of one name are refused', async () => {
  const OrderPlaced = placed(built('Order', 'a'))
  const Archived = defineEvent({ type: 'Archived', aggregate: 'Order', payload: Empty })
  const Refunded = defineEvent({ type: 'Refunded', aggregate: built('Order', 'b'), payload: Empty })
  await expect(createDataAccess({ modules: [{ name: 'm', events: [OrderPlaced, Archived, Refunded] }] })).rejects.toMatchObject({
    code: 'EVENT_DEFINITION_INVALID',
    message: expect.stringMatching(/"Refunded".*"OrderPlaced".*"Order".*would share/),
  })
})

test('a class that is no entity is no aggregate: its name may be another one in the next build', async () => {
  const OrderPlaced = placed(class n {} as never)
  const data = opened(await createDataAccess({ modules: [{ name: 'm', events: [OrderPlaced] }] }))
  await data.migrate()
  await expect(data.unitOfWork(async ({ record }) => void record(OrderPlaced, 1, {}))).rejects.toMatchObject({
    code: 'EVENT_AGGREGATE_INVALID',
    message: expect.stringMatching(/"OrderPlaced".*class n.*no entity.*entities.*name/),
  })
})

test('errors name the entity', async () => {
  const [Order, Refund, Stray] = [built('Order', 'n'), built('Refund', 'r'), built('Stray', 't')]
  const OrderPlaced = placed(Order)
  const data = opened(await createDataAccess({ modules: [{ name: 'm', entities: [Order, Refund], events: [OrderPlaced] }] }))
  await data.migrate()
  await data.orm.schema.update()
  const orders = new DataRepository(data.fork(), Order)
  await expect(orders.getOrFail(7)).rejects.toThrow('There is no Order with the id 7')
  await expect(data.fork().find(Stray, {})).rejects.toThrow('The entity Stray is not known')
  const wrong = ({ em, record }: UnitOfWorkContext) => void record(OrderPlaced, em.create(Refund, { id: 1, tenant: 'one' }), {})
  await expect(data.unitOfWork(async (unit) => wrong(unit))).rejects.toThrow('is about Order; it was recorded for Refund')
})

describe.each(cacheCombinations)('on $dialect with the $store store', ({ dialect, store }) => {
  test('a filter on an entity by its class, whatever that is called, lets nobody read what the filter hides', async () => {
    const Order = built('Order', 'n')
    const { data } = opened(await openCachedAccess(dialect, store, { entities: [Order], caches: [cachePolicy(Order)] }))
    await data.unitOfWork(async ({ em }) => void em.create(Order, { id: 7, tenant: 'one' }))
    expect(await data.cached(Order).get(7)).not.toBeNull()
    const em = data.fork()
    em.addFilter({ name: 'tenant', cond: { tenant: 'two' }, entity: Order })
    expect(await data.cached(Order, { em }).get(7)).toBeNull()
  })
})

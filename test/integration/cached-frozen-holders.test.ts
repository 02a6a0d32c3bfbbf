import { defineEntity, p, Type, wrap } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

/** A value whose state freezing does not reach. */
class Wallet {
  #coins: number
  constructor(coins: number) {
    this.#coins = coins
  }
  get coins(): number {
    return this.#coins
  }
  spend(): void {
    this.#coins -= 1
  }
}

function typeOf<Value>(read: (text: string) => Value, write: (value: Value) => string): Type<Value, string> {
  class ValueType extends Type<Value, string> {
    override convertToDatabaseValue(value: Value | string): string {
      return typeof value === 'string' ? value : write(value)
    }
    override convertToJSValue(text: string): Value {
      return read(text)
    }
    override getColumnType(): string {
      return 'text'
    }
  }
  return new ValueType()
}
const tagsType = typeOf<Map<string, number>>(
  (text) => new Map(JSON.parse(text)),
  (tags) => JSON.stringify([...tags]),
)
const vectorType = typeOf<Float32Array>(
  (text) => new Float32Array(JSON.parse(text)),
  (vector) => JSON.stringify([...vector]),
)
const walletType = typeOf<Wallet>(
  (text) => new Wallet(Number(text)),
  (wallet) => String(wallet.coins),
)

/** A type that freezes what it gives, though not what is in it. */
const looseType = typeOf<{ readonly words: string[] }>(
  (text) => Object.freeze(JSON.parse(text)),
  (words) => JSON.stringify(words),
)

const BagSchema = defineEntity({
  name: 'Bag',
  embeddable: true,
  properties: { size: p.integer(), tags: p.type(tagsType).$type<Map<string, number>>() },
})
class Bag extends BagSchema.class {}
BagSchema.setClass(Bag)
const ToySchema = defineEntity({ name: 'Toy', properties: { id: p.integer().primary(), child: () => p.manyToOne(Child).ref() } })
class Toy extends ToySchema.class {}
ToySchema.setClass(Toy)
const ChildSchema = defineEntity({
  name: 'Child',
  discriminatorColumn: 'kind',
  discriminatorValue: 'child',
  properties: {
    id: p.integer().primary(),
    kind: p.string(),
    tags: p.type(tagsType).$type<Map<string, number>>(),
    vector: p.type(vectorType).$type<Float32Array>(),
    wallet: p.type(walletType).$type<Wallet>(),
    loose: p.type(looseType).$type<{ readonly words: string[] }>(),
    bag: () => p.embedded(Bag),
    toys: () => p.oneToMany(Toy).mappedBy('child'),
  },
})
class Child extends ChildSchema.class {}
ChildSchema.setClass(Child)
const frozenChildren = cachePolicy(Child, { frozen: true })

describe.each(dialects)('what frozen results hold, on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    data = await createDataAccess({
      modules: [{ name: 'toys', entities: [Child, Toy, Bag], caches: [frozenChildren] }],
      database: { url: database.url },
      cache: memoryCache({ singleProcess: true }),
    })
    await data.migrate()
    await data.orm.schema.update()
    await data.unitOfWork(async ({ em }) => {
      const tags = new Map([['red', 1]])
      em.create(Child, {
        ...{ id: 1, kind: 'child', tags, vector: new Float32Array([1, 2]), wallet: new Wallet(3) },
        loose: { words: ['one'] },
        bag: { size: 4, tags },
      } as never)
    })
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  test('cannot be changed for the next reader, whatever it is', async () => {
    const children = data.cached(frozenChildren)
    const child = await children.getOrFail(1)
    const next = await children.getOrFail(1)
    expect(next).toBe(child)
    child.tags.set('blue', 2)
    child.bag.tags.set('blue', 2)
    child.vector[0] = 9
    child.wallet.spend()
    child.loose.words.push('two')
    child.toys.add(data.fork().create(Toy, { id: 1, child: 1 } as never))
    expect(() => Object.assign(child.bag, { size: 9 })).toThrow(TypeError)
    expect(() => Object.assign(child, { wallet: undefined })).toThrow(TypeError)
    expect([...next.tags]).toEqual([['red', 1]])
    expect([...next.bag.tags]).toEqual([['red', 1]])
    expect([next.bag.size, next.wallet.coins, ...next.vector]).toEqual([4, 3, 1, 2])
    expect(next.loose.words).toEqual(['one'])
    expect(next.toys.isInitialized()).toBe(false)
    expect(next.toys.getItems(false)).toHaveLength(0)
  })

  test('is taken in by no entity manager, whose it would be for all readers', async () => {
    const child = await data.cached(frozenChildren).getOrFail(1)
    const code = 'ENTITY_DETACHED'
    expect(() => data.fork().merge(child)).toThrow(expect.objectContaining({ code }))
    const relate = data.unitOfWork(async ({ em }) => em.create(Toy, { id: 1, child } as never))
    await expect(relate).rejects.toMatchObject({ code })
    expect(wrap(await data.cached(frozenChildren).getOrFail(1), true).__em).toBeUndefined()
    await data.unitOfWork(async ({ em }) => em.create(Toy, { id: 1, child: em.getReference(Child, child.id) } as never))
    expect(await data.fork().count(Toy)).toBe(1)
  })
})

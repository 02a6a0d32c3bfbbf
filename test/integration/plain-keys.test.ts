import { defineEntity, p } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { withQueries } from '../../src/database/query-scope.ts'
import { DataRepository } from '../../src/repository/data-repository.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

/** Entities of an application that has no uuids. */
const name = p.string()
const CounterSchema = defineEntity({
  name: 'Counter',
  properties: { id: p.integer().primary(), name, rank: p.integer().unique().nullable() },
})
class Counter extends CounterSchema.class {}
CounterSchema.setClass(Counter)
const LedgerSchema = defineEntity({ name: 'Ledger', properties: { id: p.bigint().primary(), name } })
class Ledger extends LedgerSchema.class {}
LedgerSchema.setClass(Ledger)
const LabelSchema = defineEntity({ name: 'Label', properties: { id: p.string().length(20).primary(), name } })
class Label extends LabelSchema.class {}
LabelSchema.setClass(Label)
const PriceSchema = defineEntity({ name: 'Price', properties: { id: p.decimal().precision(8).scale(2).primary(), name } })
class Price extends PriceSchema.class {}
PriceSchema.setClass(Price)
const counterCache = cachePolicy(Counter, { uniques: ['rank'] })
const entities = [Counter, Ledger, Label, Price]
for (const schema of [CounterSchema, LedgerSchema, LabelSchema, PriceSchema]) schema.setCustomRepository(() => DataRepository)

const noNumber = ['nope', '', ' 7', '7 ', '7e0', '0x7', Number.NaN, Number.POSITIVE_INFINITY, true, {}, { $ne: 0 }, [7], null]
const noWhole = [...noNumber, 1.5, '7.0', '07', 2n ** 63n, '99999999999999999999']

describe.each(dialects)('keys that are no uuids, on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  beforeAll(async () => {
    database = await openTestDatabase(dialect)
    const caches = [counterCache, ...[Ledger, Label, Price].map((entity) => cachePolicy(entity as typeof Ledger))]
    const modules = [{ name: 'plain', entities, caches }]
    data = await createDataAccess({
      modules,
      database: { url: database.url },
      cache: memoryCache({ singleProcess: true }),
    })
    await data.migrate()
    await data.orm.schema.update()
    await data.unitOfWork(async ({ em }) => {
      em.create(Counter, { id: 7, name: 'seven', rank: 1 })
      em.create(Ledger, { id: 7n, name: 'seven' })
      em.create(Label, { id: '7', name: 'seven' })
      em.create(Price, { id: '7.25', name: 'seven' })
    })
  })
  afterAll(async () => {
    await data.close()
    await database.close()
  })

  describe.each([
    ['an integer', Counter, [7, '7', 7n], 8, [...noWhole, ...(dialect === 'postgresql' ? [2 ** 31, '2147483648'] : [])]],
    ['a bigint', Ledger, [7n, 7, '7'], 8n, noWhole],
    ['a text', Label, ['7'], '8', [7, true, {}, { $ne: '' }, ['7'], 'nul \0', '\ud800', null]],
    ['a decimal', Price, ['7.25', '7.250', 7.25], '8.25', noNumber],
  ] as const)('%s', (_kind, entity, spellings, missing, impossible) => {
    const repository = () => data.fork().getRepository(entity as typeof Counter) as DataRepository<Counter>
    const cached = () => data.cached(entity as typeof Counter)

    it('finds its row, in any spelling', async () => {
      for (const spelling of spellings as unknown as readonly never[]) {
        expect((await repository().getById(spelling))?.name).toBe('seven')
        expect((await repository().getMany([spelling]))[0]?.name).toBe('seven')
        expect((await cached().get(spelling))?.name).toBe('seven')
        const inUnit = await data.unitOfWork(async (unit) => unit.cached(entity as typeof Counter).getMany([spelling]))
        expect(inUnit[0]?.name).toBe('seven')
      }
    })

    it('has no row for what it cannot be, without a query', async () => {
      await withQueries(async (queries) => {
        for (const id of impossible as unknown as readonly never[]) {
          expect(await repository().getById(id)).toBeNull()
          expect(await repository().getMany([id])).toEqual([null])
          expect(await cached().get(id)).toBeNull()
          expect(await cached().getMany([id])).toEqual([null])
          await expect(repository().getOrFail(id)).rejects.toMatchObject({ code: 'ENTITY_NOT_FOUND' })
          await expect(cached().getOrFail(id)).rejects.toMatchObject({ code: 'ENTITY_NOT_FOUND' })
          await cached().invalidate(id)
        }
        expect(queries.count).toBe(0)
      })
      const [first = null, second = null] = [spellings[0], impossible[0]] as unknown as readonly never[]
      const mixed = [first, second] as never[]
      expect((await repository().getMany(mixed)).map((found) => found?.name)).toEqual(['seven', undefined])
      expect((await cached().getMany(mixed)).map((found) => found?.name)).toEqual(['seven', undefined])
      const inUnit = await data.unitOfWork(async (unit) => unit.cached(entity as typeof Counter).getMany(mixed))
      expect(inUnit.map((found) => found?.name)).toEqual(['seven', undefined])
    })

    it('names the key that is not there', async () => {
      const message = expect.stringContaining(typeof missing === 'string' ? `the id "${missing}"` : `the id ${missing}`)
      await expect(repository().getOrFail(missing as never)).rejects.toMatchObject({ code: 'ENTITY_NOT_FOUND', message })
    })
  })

  it('a unique number is found, and no query asks for what it cannot be', async () => {
    const cached = data.cached(counterCache)
    expect((await cached.byRank(1))?.name).toBe('seven')
    expect((await cached.byRank('1' as never))?.name).toBe('seven')
    await withQueries(async (queries) => {
      for (const rank of noWhole) expect(await cached.byRank(rank as never)).toBeNull()
      expect(queries.count).toBe(0)
    })
    await data.unitOfWork(async (unit) => expect(await unit.cached(counterCache).byRank('nope' as never)).toBeNull())
  })

  it('an integer has the range of its column, which is larger on SQLite', async () => {
    const id = 2 ** 40
    const found = { sqlite: 'large', postgresql: undefined }[dialect]
    if (dialect === 'sqlite') await data.unitOfWork(async ({ em }) => em.create(Counter, { id, name: 'large' }))
    expect((await data.fork().getRepository(Counter).findOne({ id }))?.name).toBe(found)
    expect((await data.cached(Counter).get(id))?.name).toBe(found)
    expect((await (data.fork().getRepository(Counter) as DataRepository<Counter>).getMany([id]))[0]?.name).toBe(found)
  })
})

import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { EntityClass } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { runSql } from '../../src/database/sql.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import {
  Bike,
  Blob,
  blobCache,
  Car,
  carCache,
  Ledger,
  ledgerCache,
  ledgersByCount,
  ledgersByOpen,
  ledgersByTitle,
  Mail,
  Member,
  mailCache,
  memberCache,
  membersNamed,
  Owner,
  Pet,
  Price,
  petCache,
  petsOf,
  Slug,
  spelledModule,
  Vehicle,
} from '../support/spelled-entities.ts'

// Keys are texts, and values are not: whatever is written, read back or asked for, no text may stand for two values, and a value that
// can be written by several texts must not outlive a commit under another one.
describe.each(dialects)('the values by which rows are cached, on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    data = await createDataAccess({
      modules: [spelledModule],
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
  const add = <Entity extends object>(entity: EntityClass<Entity>, ...rows: object[]) =>
    data.unitOfWork(async ({ em }) => {
      for (const row of rows) em.create(entity, row as never)
    })
  const ledger = (values: object) => add(Ledger, { price: '1', ...values })

  if (dialect === 'postgresql') {
    const upper = 'E621E1F8-C36C-495A-93FC-0C247A3E6E5F'
    const lower = upper.toLowerCase()
    const bare = lower.replaceAll('-', '')

    test('a uuid in upper case names the same row in a change', async () => {
      await add(Owner, { id: lower, name: 'old' })
      expect((await data.cached(Owner).get(lower))?.name).toBe('old')
      await data.unitOfWork(async ({ em }) => {
        em.getReference(Owner, upper).name = 'new'
      })
      expect((await data.cached(Owner).get(lower))?.name).toBe('new')
    })

    test.each([upper, bare])('a uuid written as %s ends what was known not to exist', async (written) => {
      await add(Owner, { id: lower, name: 'ann' })
      expect(await data.cached(Owner).get(lower.replace('e', '1'))).toBeNull()
      expect(await data.cached(petCache).byChip(lower)).toBeNull()
      expect(await data.cached(petsOf).get({ owner: lower })).toEqual([])
      expect(await data.cached(petsOf).get({ owner: bare })).toEqual([])
      await add(Owner, { id: written.replace(/e/i, '1'), name: 'ben' })
      await add(Pet, { id: 1, owner: written, chip: written, name: 'rex' })
      expect((await data.cached(Owner).get(lower.replace('e', '1')))?.name).toBe('ben')
      expect((await data.cached(petCache).byChip(lower))?.name).toBe('rex')
      expect(await data.cached(petsOf).get({ owner: lower })).toEqual(['rex'])
      expect(await data.cached(petsOf).get({ owner: bare })).toEqual(['rex'])
    })

    test('a text that loses spaces as it is stored, and a number that is rounded', async () => {
      expect(await data.cached(ledgerCache).byCode('EUR')).toBeNull()
      expect(await data.cached(ledgersByCount).get({ value: 2 })).toEqual([])
      await ledger({ id: '1', code: 'EUR ', count: 1.6 })
      expect((await data.cached(ledgerCache).byCode('EUR'))?.id).toBe('1')
      expect(await data.cached(ledgersByCount).get({ value: 2 })).toEqual(['1'])
    })
  }

  test('an id and a unique value of a type that converts them', async () => {
    expect(await data.cached(memberCache).byHandle('u_ann')).toBeNull()
    expect(await data.cached(Member).get('u_7')).toBeNull()
    await add(Member, { id: 'u_7', handle: 'u_ann', name: 'old' })
    for (const name of ['old', 'new']) {
      expect((await data.cached(Member).getMany(['u_7', 'u_8'])).map((found) => found?.name)).toEqual([name, undefined])
      expect((await data.cached(memberCache).byHandle('u_ann'))?.name).toBe(name)
      expect((await data.cached(membersNamed).get({ name })).map(({ id }) => id)).toEqual(['u_7'])
      await data.unitOfWork(async ({ em }) => {
        ;(await em.findOneOrFail(Member, 'u_7')).name = 'new'
      })
    }
  })

  test('a value that the database writes in another form', async () => {
    expect(await data.cached(mailCache).byAddress('ann@example.com')).toBeNull()
    await add(Mail, { id: 1, address: 'Ann@example.com' })
    expect((await data.cached(mailCache).byAddress('ann@example.com'))?.id).toBe(1)
  })

  test('a unique value of a class, beside classes that do not have it', async () => {
    expect(await data.cached(carCache).byPlate('B-1')).toBeNull()
    await add(Bike, { id: 1, name: 'bike', gears: 3 })
    await add(Vehicle, { id: 2, name: 'cart' })
    await add(Car, { id: 3, name: 'car', plate: 'B-1' })
    expect((await data.cached(carCache).byPlate('B-1'))?.name).toBe('car')
    await data.unitOfWork(async ({ em }) => {
      ;(await em.findOneOrFail(Bike, 1)).name = 'new'
      ;(await em.findOneOrFail(Car, 3)).name = 'new'
    })
    expect((await data.cached(carCache).byPlate('B-1'))?.name).toBe('new')
  })

  test('bytes that are no text', async () => {
    const [one, other] = ['ff01', 'fe01'] as const
    const digestOf = (id: string) => Buffer.from(id, 'hex')
    await add(Blob, ...[one, other].map((id) => ({ id, digest: digestOf(id), name: id })))
    for (let round = 0; round < 2; round++) {
      expect((await data.cached(Blob).getMany([one, other])).map((found) => found?.name)).toEqual([one, other])
      for (const id of [one, other]) expect((await data.cached(blobCache).byDigest(digestOf(id)))?.name).toBe(id)
    }
  })

  test('a long text, and the text that its hash is', async () => {
    const long = 'x'.repeat(150)
    const hash = createHash('sha256').update(long).digest('base64url')
    await add(Slug, { id: long, name: 'long' }, { id: hash, name: 'hash' })
    for (const [id, name] of [
      [long, 'long'],
      [hash, 'hash'],
    ] as const) {
      expect((await data.cached(Slug).get(id))?.name).toBe(name)
    }
  })

  test('half a surrogate pair, which is stored as another character, hinders no commit and no read', async () => {
    const cut = 'cut \ud83d'
    expect(await data.cached(ledgersByTitle).get({ value: cut })).toEqual([])
    const stored = 'cut \ufffd'
    expect(await data.cached(ledgersByTitle).get({ value: stored })).toEqual([])
    await ledger({ id: '1', title: cut, code: 'a\ud83d' })
    expect(await data.cached(ledgersByTitle).get({ value: stored })).toEqual(['1'])
    expect(await data.cached(ledgersByTitle).get({ value: cut })).toEqual(['1'])
  })

  test('a whole number that is written in another way', async () => {
    await ledger({ id: '7', title: 'old' })
    expect((await data.cached(Ledger).get('7'))?.title).toBe('old')
    expect(await data.cached(ledgersByCount).get({ value: 7 })).toEqual([])
    await data.unitOfWork(async ({ em }) => {
      Object.assign(em.getReference(Ledger, '007'), { title: 'new', count: '07' })
    })
    expect((await data.cached(Ledger).get('7'))?.title).toBe('new')
    expect(await data.cached(ledgersByCount).get({ value: 7 })).toEqual(['7'])
  })

  test.each([
    ...['7.0', '7e0', ' 7', '+7', '0x7', '1_7'].map((value) => [ledgersByCount, value] as const),
    ...['t', 'true', '1', 1, 'TRUE', 'yes'].map((value) => [ledgersByOpen, value] as const),
  ])('%o asked by %o gets what the database says', async (query, value) => {
    const read = () => data.cached(query).get({ value })
    const before = await read().catch(() => undefined)
    if (before === undefined) return // refused by the database
    expect(before).toEqual([])
    await ledger({ id: '1', count: 7, open: true })
    await ledger({ id: '2', price: '2', count: 17 })
    expect(await read()).toEqual(await query.run(data.fork(), { value }))
  })

  test('a unit finds the row of an id that is spelled otherwise, as readers outside do', async () => {
    await add(Price, { id: '7.25', name: 'cheap' }, { id: '8.25', name: 'dear' })
    const ids = ['7.250', '8.25', '9.250']
    const names = ['cheap', 'dear', undefined]
    expect((await data.cached(Price).getMany(ids)).map((found) => found?.name)).toEqual(names)
    const inside = await data.unitOfWork(async ({ cached }) => cached(Price).getMany(ids))
    expect(inside.map((found) => found?.name)).toEqual(names)
  })

  test('a property by the name of unique leaves the lookups as they are', async () => {
    await ledger({ id: '1', unique: true })
    expect((await data.cached(ledgerCache).byPrice('1.00'))?.id).toBe('1')
  })

  test('an id that looks like the lease under which another one is read anew', async () => {
    await add(Slug, { id: 'abc', name: 'old' }, { id: 'abc~', name: 'other' }, { id: 'abc$', name: 'third' })
    const read = () => Promise.all(['abc', 'abc~', 'abc$'].map(async (id) => (await data.cached(Slug).getOrFail(id)).name))
    expect(await read()).toEqual(['old', 'other', 'third'])
    await runSql(data.fork(), `update slug set name = 'new' where id = 'abc'`)
    await expect
      .poll(
        async () => {
          await delay(40)
          return read()
        },
        { timeout: 20_000 },
      )
      .toEqual(['new', 'other', 'third'])
  })
})

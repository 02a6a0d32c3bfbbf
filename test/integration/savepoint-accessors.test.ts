import { defineEntity, p } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

const AccountSchema = defineEntity({
  name: 'Account',
  properties: {
    id: p.integer().primary(),
    name: p.string(),
    hash: p.string(),
    upper: p.string().persist(false).nullable(),
    password: p.string().persist(false).nullable(),
    pin: p.string().persist(false).nullable(),
    digits: p.integer().persist(false).nullable(),
  },
})
class Account extends AccountSchema.class {}
const pins = new WeakMap<Account, string>()
Object.defineProperties(Account.prototype, {
  upper: {
    configurable: true,
    get(this: Account) {
      return this.name?.toUpperCase()
    },
  },
  password: {
    configurable: true,
    get: () => '***',
    set(this: Account, value: string) {
      this.hash = `hash of ${value}`
    },
  },
  pin: {
    configurable: true,
    get(this: Account) {
      return pins.get(this)
    },
    set(this: Account, value: string) {
      pins.set(this, value)
      this.hash = `hash of ${value}`
    },
  },
  digits: {
    configurable: true,
    get(this: Account) {
      return pins.get(this)?.length
    },
  },
})
AccountSchema.setClass(Account)

describe.each(dialects)('after a nested unit that was rolled back, on %s,', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    data = await createDataAccess({ modules: [{ name: 'accounts', entities: [Account] }], database: { url: database.url } })
    await data.migrate()
    await data.orm.schema.update()
    await data.unitOfWork(async ({ em }) => void em.create(Account, { id: 1, name: 'a', hash: 'hash of secret' }))
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  it('what a class makes by accessors of its own is left to them', async () => {
    await data.unitOfWork(async ({ em }) => {
      const account = await em.findOneOrFail(Account, 1)
      const nested = data.unitOfWork(async () => {
        account.name = 'never'
        throw new Error('only the savepoint')
      })
      await expect(nested).rejects.toThrow('only the savepoint')
      expect([account.name, account.upper, account.hash]).toEqual(['a', 'A', 'hash of secret'])
      account.name = 'b'
    })
    expect(await data.fork().findOneOrFail(Account, 1)).toMatchObject({ name: 'b', hash: 'hash of secret' })
  })

  it.each(['the outer unit', 'the nested unit'])(
    'so is what they were given there first, of an entity that %s loaded',
    async (who) => {
      await data.unitOfWork(async ({ em }) => {
        let account = who === 'the outer unit' ? await em.findOneOrFail(Account, 1) : undefined
        const nested = data.unitOfWork(async ({ em: inner }) => {
          account ??= await inner.findOneOrFail(Account, 1)
          account.pin = '1234'
          throw new Error('only the savepoint')
        })
        await expect(nested).rejects.toThrow('only the savepoint')
        expect([account?.pin, account?.digits, account?.hash]).toEqual(['1234', 4, 'hash of secret'])
        Object.assign(account as Account, { name: 'b' })
      })
      expect(await data.fork().findOneOrFail(Account, 1)).toMatchObject({ name: 'b', hash: 'hash of secret' })
    },
  )

  it('another object of a row that was deleted and written anew is the outer unit’s', async () => {
    await data.unitOfWork(async () => {
      let kept: Account | undefined
      const nested = data.unitOfWork(async ({ em }) => {
        await em.remove(await em.findOneOrFail(Account, 1)).flush()
        await em.insert(Account, { id: 1, name: 'again', hash: '' })
        kept = await em.findOneOrFail(Account, 1)
        throw new Error('only the savepoint')
      })
      await expect(nested).rejects.toThrow('only the savepoint')
      Object.assign(kept as Account, { name: 'of the outer unit' })
    })
    expect(await data.fork().findOneOrFail(Account, 1)).toMatchObject({ name: 'of the outer unit', hash: 'hash of secret' })
  })
})

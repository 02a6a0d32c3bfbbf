import { defineEntity, p } from '@mikro-orm/core'
import { Migration } from '@mikro-orm/migrations'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { memoryCache } from '../../src/cache/cache-choice.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'
import { Note, notes } from '../support/notes-module.ts'

const Bag = defineEntity({ name: 'Bag', tableName: 'bags', properties: { id: p.integer().primary(), content: p.json() } })
class CreateBags extends Migration {
  override up(): void {
    this.addSql('create table bags (id int primary key, content jsonb)')
  }
}
const list = [{ name: 'bags-001', class: CreateBags }]
const bags = { name: 'bags', entities: [Bag], migrations: { postgresql: list, sqlite: list }, caches: [cachePolicy(Note)] }

describe.each(dialects)('a text with the character U+0000 on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  beforeAll(async () => {
    database = await openTestDatabase(dialect)
    const { url } = database
    data = await createDataAccess({
      modules: [notes, bags],
      database: { url, pool: { max: 1 } },
      cache: memoryCache({ singleProcess: true }),
    })
    await data.migrate()
  })
  afterAll(async () => {
    await data.close()
    await database.close()
  })

  const title = 'a\0b'
  const stream = async () => {
    for await (const _ of data.fork().stream(Note, { where: { title } })) throw new Error('there is a row')
  }
  const refused = expect.objectContaining({
    code: 'TEXT_NOT_STORABLE',
    message: expect.stringContaining('"notes"'),
    context: { table: 'notes' },
    cause: expect.any(Error),
  })

  it('is refused in rows and conditions as what it is, once, and no other attempt is made', async () => {
    let attempts = 0
    const unit = data.unitOfWork(async ({ em }) => {
      attempts++
      em.create(Note, { id: 'a', title })
    })
    await expect(unit).rejects.toEqual(refused)
    expect(attempts).toBe(1)
    await expect(data.fork().find(Note, { title })).rejects.toEqual(refused)
    await expect(data.fork().findOne(Note, { title })).rejects.toEqual(refused)
    await expect(data.fork().nativeUpdate(Note, { id: 'a' }, { title })).rejects.toEqual(refused)
    await expect(data.fork().nativeDelete(Note, { title })).rejects.toEqual(refused)
    await expect(data.unitOfWork(({ em }) => em.count(Note, { title }))).rejects.toEqual(refused)
    // By a key nothing is asked: no row can have it.
    expect(await data.cached(Note).get(title)).toBeNull()
    await expect(stream()).rejects.toEqual(refused)
  })

  it('leaves the connection, and what is no part of the transaction, as it was', async () => {
    const backend = async () => {
      if (dialect === 'sqlite') return 1
      return (await data.fork().getConnection().execute('select pg_backend_pid() as pid'))[0].pid
    }
    const before = await backend()
    await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'b', title: 'kept' }))
    await expect(data.fork().find(Note, { title })).rejects.toEqual(refused)
    await expect(data.unitOfWork(async ({ em }) => void (await em.find(Note, { title })))).rejects.toEqual(refused)
    await expect(stream()).rejects.toEqual(refused)
    expect(await data.fork().count(Note, { title: 'kept' })).toBe(1)
    expect(await backend()).toBe(before)
  })

  it('is told apart from a broken statement', async () => {
    await expect(data.fork().getConnection().execute('select \x01')).rejects.not.toMatchObject({ code: 'TEXT_NOT_STORABLE' })
  })

  if (dialect === 'postgresql') {
    it('is refused in JSON and beside a statement too', async () => {
      const unit = data.unitOfWork(async ({ em }) => void em.create(Bag, { id: 1, content: { a: title } }))
      await expect(unit).rejects.toMatchObject({ code: 'TEXT_NOT_STORABLE', context: { table: 'bags' } })
      const query = (data.fork() as never as { getKysely(): KyselyOfNotes })
        .getKysely()
        .selectFrom('notes')
        .selectAll()
        .where('title', '=', title)
      await expect(query.execute()).rejects.toEqual(refused)
    })
  } else {
    it('is kept in JSON, which escapes it', async () => {
      await data.unitOfWork(async ({ em }) => void em.create(Bag, { id: 1, content: { a: title } }))
      expect((await data.fork().findOneOrFail(Bag, 1)).content).toEqual({ a: title })
    })
  }
})

/** The part of Kysely that is needed here. */
interface KyselyOfNotes {
  selectFrom(table: string): KyselyOfNotes
  selectAll(): KyselyOfNotes
  where(column: string, operator: string, value: string): KyselyOfNotes
  execute(): Promise<unknown[]>
}

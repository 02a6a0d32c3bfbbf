import { defineEntity, p } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { withQueries } from '../../src/database/query-scope.ts'
import { DataRepository } from '../../src/repository/data-repository.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

const uuid = 'e621e1f8-c36c-495a-93fc-0c247a3e6e5f'
const name = p.string()

/** Entities whose keys have more than one shape in JavaScript; each test has its own, as a column's type depends on the dialect. */
function makeEntities(postgresql: boolean) {
  const ownerProperties = { id: p.integer().primary(), name }
  const OwnerSchema = defineEntity({ name: 'Owner', properties: ownerProperties })
  class Owner extends OwnerSchema.class {}
  OwnerSchema.setClass(Owner)
  const NoteSchema = defineEntity({ name: 'Note', properties: { owner: () => p.oneToOne(Owner).primary().owner(), name } })
  class Note extends NoteSchema.class {}
  NoteSchema.setClass(Note)
  const MomentSchema = defineEntity({ name: 'Moment', properties: { at: p.datetime(3).primary(), name } })
  class Moment extends MomentSchema.class {}
  MomentSchema.setClass(Moment)
  const TicketSchema = defineEntity({ name: 'Ticket', properties: { id: p.uuid().primary(), name } })
  class Ticket extends TicketSchema.class {}
  TicketSchema.setClass(Ticket)
  const DigestSchema = defineEntity({ name: 'Digest', properties: { bytes: p.blob().primary(), name } })
  class Digest extends DigestSchema.class {}
  DigestSchema.setClass(Digest)
  const columnType = postgresql ? 'char(4)' : 'text collate nocase'
  const CodeSchema = defineEntity({ name: 'Code', properties: { code: p.string().primary().columnType(columnType), name } })
  class Code extends CodeSchema.class {}
  CodeSchema.setClass(Code)
  const SeatSchema = defineEntity({
    name: 'Seat',
    properties: { row: p.integer().primary(), place: p.integer().primary(), name },
  })
  class Seat extends SeatSchema.class {}
  SeatSchema.setClass(Seat)
  const schemas = [OwnerSchema, NoteSchema, MomentSchema, TicketSchema, DigestSchema, CodeSchema, SeatSchema]
  for (const schema of schemas) schema.setCustomRepository(() => DataRepository)
  return { Owner, Note, Moment, Ticket, Digest, Code, Seat }
}

/** What an id of any shape is asked with. */
interface AnyRepository {
  getById(id: unknown): Promise<{ readonly name: string } | null>
  getMany(ids: readonly unknown[]): Promise<({ readonly name: string } | null)[]>
  exists(where: object): Promise<boolean>
}

describe.each(dialects)('keys of several shapes, on %s', (dialect) => {
  const postgresql = dialect === 'postgresql'
  const entities = makeEntities(postgresql)
  let database: TestDatabase
  let data: DataAccess
  beforeAll(async () => {
    database = await openTestDatabase(dialect)
    data = await createDataAccess({
      modules: [{ name: 'shapes', entities: Object.values(entities) }],
      database: { url: database.url },
    })
    await data.migrate()
    await data.orm.schema.update()
    await data.unitOfWork(async ({ em }) => {
      const owner = em.create(entities.Owner, { id: 7, name: 'owner' })
      em.create(entities.Note, { owner, name: 'found' })
      em.create(entities.Moment, { at: new Date(7007), name: 'found' })
      em.create(entities.Ticket, { id: uuid, name: 'found' })
      em.create(entities.Digest, { bytes: Buffer.from([7, 255]), name: 'found' })
      em.create(entities.Code, { code: 'ab', name: 'found' })
      em.create(entities.Seat, { row: 7, place: 7, name: 'found' })
    })
  })
  afterAll(async () => {
    await data.close()
    await database.close()
  })
  const repositoryOf = (entity: keyof typeof entities, em = data.fork()) =>
    em.getRepository(entities[entity] as never) as unknown as AnyRepository

  it.each([
    ['Note', [7, '7', 7n], [8, 9]],
    ['Moment', [new Date(7007), new Date(7007)], [new Date(7008)]],
    ['Ticket', postgresql ? [uuid, uuid.toUpperCase()] : [uuid], ['e621e1f8-c36c-495a-93fc-0c247a3e6e50']],
    ['Digest', [Buffer.from([7, 255])], [Buffer.from([7])]],
    ['Code', postgresql ? ['ab', 'ab  '] : ['AB', 'ab', 'aB'], ['ac']],
  ] as const)('getMany finds what getById finds: %s', async (entity, spellings, missing) => {
    for (const id of spellings) expect((await repositoryOf(entity).getById(id))?.name).toBe('found')
    for (const id of missing) expect(await repositoryOf(entity).getById(id)).toBeNull()
    const found = await repositoryOf(entity).getMany([...spellings, ...missing])
    expect(found.map((each) => each?.name)).toEqual([...spellings.map(() => 'found'), ...missing.map(() => undefined)])
  })

  it('getMany takes one query where the column has one spelling for one value', async () => {
    await withQueries(async (queries) => {
      await repositoryOf('Moment').getMany([new Date(7007), new Date(7008), new Date(7009)])
      await repositoryOf('Note').getMany([7, 8, 9])
      expect(queries.count).toBe(2)
    })
  })

  it('an entity or a reference stands for its key, where the key is a relation', async () => {
    const em = data.fork()
    const notes = repositoryOf('Note', em)
    const owner = await em.findOneOrFail(entities.Owner, { id: 7 })
    for (const id of [owner, em.getReference(entities.Owner, 7)]) {
      expect((await notes.getById(id))?.name).toBe('found')
      expect((await notes.getMany([id, 8])).map((each) => each?.name)).toEqual(['found', undefined])
    }
  })

  it('exists asks by any condition where the key has several properties or is a relation', async () => {
    for (const entity of ['Seat', 'Note'] as const) {
      for (const where of [{}, { name: 'found' }]) expect(await repositoryOf(entity).exists(where)).toBe(true)
      expect(await repositoryOf(entity).exists({ name: 'lost' })).toBe(false)
    }
    expect(await repositoryOf('Seat').exists({ row: 7, place: 7 })).toBe(true)
    expect(await repositoryOf('Seat').exists({ row: 7, place: 8 })).toBe(false)
  })
})

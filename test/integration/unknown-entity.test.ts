import { defineEntity, type EntityManager, p } from '@mikro-orm/core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { Note, notes } from '../support/notes-module.ts'

const Stray = defineEntity({ name: 'Stray', properties: { id: p.integer().primary(), name: p.string() } })
const HomelessSchema = defineEntity({ name: 'Homeless', properties: { id: p.integer().primary(), name: p.string() } })
class Homeless extends HomelessSchema.class {}
HomelessSchema.setClass(Homeless)

let data: DataAccess
beforeAll(async () => {
  data = await createDataAccess({ modules: [notes] })
  await data.migrate()
})
afterAll(() => data.close())

const uses: readonly (readonly [string, (em: EntityManager, entity: typeof Stray) => unknown])[] = [
  ['find', (em, entity) => em.find(entity, { id: 1 })],
  ['findAll', (em, entity) => em.findAll(entity)],
  ['findOne by its id', (em, entity) => em.findOne(entity, 1)],
  ['findOne', (em, entity) => em.findOne(entity, { name: 'a' })],
  ['findOneOrFail', (em, entity) => em.findOneOrFail(entity, 1)],
  ['findAndCount', (em, entity) => em.findAndCount(entity, {})],
  ['findByCursor', (em, entity) => em.findByCursor(entity, { first: 1, orderBy: { id: 'asc' } })],
  ['count', (em, entity) => em.count(entity)],
  ['create', (em, entity) => em.create(entity, { id: 1, name: 'a' })],
  ['getReference', (em, entity) => em.getReference(entity, 1)],
  ['insert', (em, entity) => em.insert(entity, { id: 1, name: 'a' })],
  ['insertMany', (em, entity) => em.insertMany(entity, [{ id: 1, name: 'a' }])],
  ['nativeUpdate', (em, entity) => em.nativeUpdate(entity, {}, { name: 'a' })],
  ['nativeDelete', (em, entity) => em.nativeDelete(entity, {})],
  ['upsert', (em, entity) => em.upsert(entity, { id: 1, name: 'a' })],
  ['upsertMany', (em, entity) => em.upsertMany(entity, [{ id: 1, name: 'a' }])],
  ['getRepository', (em, entity) => em.getRepository(entity).findAll()],
]

it.each(uses)('%s names the entity that is in no module, by its class and by its schema', async (_, use) => {
  const attempt = async (entity: unknown) => use(data.fork(), entity as typeof Stray)
  const unknown = (name: string) => ({
    code: 'ENTITY_UNKNOWN',
    message: expect.stringContaining(`The entity ${name} is not known`),
  })
  await expect(attempt(Homeless)).rejects.toMatchObject(unknown('Homeless'))
  await expect(attempt(HomelessSchema)).rejects.toMatchObject(unknown('Homeless'))
  await expect(attempt(Stray)).rejects.toMatchObject(unknown('Stray'))
  await expect(data.unitOfWork(({ em }) => attempt(em) as never)).rejects.toThrow()
})

it('what is known is read and written as before', async () => {
  await data.unitOfWork(async ({ em }) => void em.create(Note, { id: 'a', title: 'a' }))
  const em = data.fork()
  const note = await em.findOneOrFail(Note, 'a')
  expect(await em.findOne(Note, 'a')).toBe(note)
  note.title = 'b'
  expect(await em.upsert(note)).toBe(note)
  expect(await em.upsert(Note, { id: 'a', title: 'c', count: 1 })).toBe(note)
  expect(note.title).toBe('c')
})

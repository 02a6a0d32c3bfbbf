import { defineEntity, type EntityManager, p } from '@mikro-orm/core'
import type { SqlEntityManager } from '@mikro-orm/sql'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import { cachePolicy } from '../../src/cache/policy.ts'
import { type CacheGround, cacheCombinations, openCacheGround } from '../support/cache-ground.ts'

const CompanySchema = defineEntity({ name: 'Company', tableName: 'companies', properties: { id: p.integer().primary() } })
class Company extends CompanySchema.class {}
CompanySchema.setClass(Company)

const StudentSchema = defineEntity({
  name: 'Student',
  tableName: 'students',
  properties: {
    id: p.integer().primary(),
    name: p.text(),
    courses: () => p.manyToMany(Course).pivotEntity(() => Enrolment),
    tutors: () => p.manyToMany(Student),
    /** What rows of the pivot table go with as well: a student stays. */
    since: () => p.manyToOne(Term).deleteRule('set null').nullable().ref(),
    employer: () => p.manyToOne(Company).deleteRule('set null').nullable().ref(),
  },
})
class Student extends StudentSchema.class {}
StudentSchema.setClass(Student)

const CourseSchema = defineEntity({
  name: 'Course',
  tableName: 'courses',
  properties: { id: p.integer().primary(), title: p.text(), students: () => p.manyToMany(Student).mappedBy('courses') },
})
class Course extends CourseSchema.class {}
CourseSchema.setClass(Course)

const TermSchema = defineEntity({ name: 'Term', tableName: 'terms', properties: { id: p.integer().primary() } })
class Term extends TermSchema.class {}
TermSchema.setClass(Term)

/** The pivot table of a relation, with columns of its own, and rows that go with those of a third entity. */
const EnrolmentSchema = defineEntity({
  name: 'Enrolment',
  tableName: 'enrolments',
  properties: {
    student: () => p.manyToOne(Student).primary().ref(),
    course: () => p.manyToOne(Course).primary().ref(),
    term: () => p.manyToOne(Term).deleteRule('cascade').nullable().ref(),
    mark: p.integer().nullable(),
  },
})
class Enrolment extends EnrolmentSchema.class {}
EnrolmentSchema.setClass(Enrolment)

const studentPolicy = cachePolicy(Student)
const enrolled = cachedQuery({
  name: 'enrolled',
  dependsOn: () => [dep(Student), dep(Course)],
  run: async (em, { course }: { course: number }) => (await em.find(Student, { courses: course })).map(({ id }) => id),
})
/** By a value of one end: no row of the pivot table tells whether it is one of those. */
const enrolledIn = cachedQuery({
  name: 'enrolledIn',
  dependsOn: ({ title }: { title: string }) => [dep(Student), dep(Course, { title })],
  run: async (em, { title }) => (await em.find(Student, { courses: { title } })).map(({ id }) => id),
})
/** On one end alone, which stays as it is when the other one goes. */
const attended = cachedQuery({
  name: 'attended',
  dependsOn: ({ title }: { title: string }) => [dep(Course, { title })],
  run: (em, { title }) => em.count(Course, { title, students: { name: 'student' } }),
})
const tutored = cachedQuery({
  name: 'tutored',
  dependsOn: ({ name }: { name: string }) => [dep(Student, { name })],
  run: (em, { name }) => em.count(Student, { name, tutors: { name: 'tutor' } }),
})

describe.each(cacheCombinations)('the pivot entity of a relation on $dialect with the $store store', ({ dialect, store }) => {
  let ground: CacheGround
  let id = 0
  beforeAll(async () => {
    const entities = [CompanySchema, StudentSchema, CourseSchema, TermSchema, EnrolmentSchema]
    ground = await openCacheGround(dialect, store, { entities, caches: [studentPolicy, enrolled, enrolledIn, attended, tutored] })
  })
  afterAll(() => ground.close())
  const make = async (run: (em: EntityManager) => unknown) => {
    const em = ground.fork()
    await run(em)
    await em.flush()
  }
  beforeEach(async () => {
    id++
    await make((em) => {
      em.create(Student, { id, name: 'student' })
      em.create(Course, { id, title: `course ${id}` })
      em.create(Term, { id })
    })
  })
  const row = () => ({ student: id, course: id, term: id }) as never
  const found = async () => {
    const both = [await ground.cache.cached(enrolled).get({ course: id })]
    both.push(await ground.cache.cached(enrolledIn).get({ title: `course ${id}` }))
    expect(both[0]).toEqual(both[1])
    return both[0]
  }
  const builder = () => (ground.fork() as SqlEntityManager).createQueryBuilder(Enrolment)

  test.each<[string, () => Promise<unknown>]>([
    ['a flush', () => make((em) => em.create(Enrolment, row()))],
    ['insertMany()', () => ground.fork().insertMany(Enrolment, [row()])],
    ['upsert()', () => ground.fork().upsert(Enrolment, row())],
    ['a query builder', () => builder().insert(row()).execute()],
  ])('expires what depends on the ends of the relation as it is inserted by %s', async (_how, insert) => {
    expect(await found()).toEqual([])
    await insert()
    expect(await found()).toEqual([id])
  })

  test.each<[string, () => Promise<unknown>]>([
    ['a flush', () => make(async (em) => em.remove(await em.findOneOrFail(Enrolment, { student: id, course: id })))],
    ['nativeDelete()', () => ground.fork().nativeDelete(Enrolment, { student: id })],
    ['a query builder', () => builder().delete({ student: id }).execute()],
    ['the database, with a row of a third entity', () => make(async (em) => em.remove(await em.findOneOrFail(Term, id)))],
    ['the same by nativeDelete()', () => ground.fork().nativeDelete(Term, { id })],
    ['the collection', () => make(async (em) => (await em.findOneOrFail(Student, id)).courses.removeAll())],
  ])('and as it is deleted by %s', async (_how, remove) => {
    await ground.fork().insert(Enrolment, row())
    const title = `course ${id}`
    expect(await found()).toEqual([id])
    expect(await ground.cache.cached(attended).get({ title })).toBe(1)
    await remove()
    expect(await found()).toEqual([])
    expect(await ground.cache.cached(attended).get({ title })).toBe(0)
  })

  test('expires nothing of the ends by its own values', async () => {
    await ground.fork().insert(Enrolment, row())
    await found()
    const { hits } = ground.cache.cached(enrolled).stats()
    await make(async (em) => Object.assign(await em.findOneOrFail(Enrolment, { student: id, course: id }), { mark: 1 }))
    expect(await found()).toEqual([id])
    expect(ground.cache.cached(enrolled).stats().hits).toBe(hits + 1)
  })

  test.each<[string, (id: number) => Promise<unknown>]>([
    ['a flush', (id) => make(async (em) => em.remove(await em.findOneOrFail(Student, id)))],
    ['nativeDelete()', (id) => ground.fork().nativeDelete(Student, { id })],
  ])('an end that goes by %s expires the queries on the other one', async (_how, remove) => {
    await ground.fork().insert(Enrolment, row())
    const title = `course ${id}`
    expect(await found()).toEqual([id])
    expect(await ground.cache.cached(attended).get({ title })).toBe(1)
    await remove(id)
    expect(await found()).toEqual([])
    expect(await ground.cache.cached(attended).get({ title })).toBe(0)
  })

  test('and those on its own entity, in a relation to others of it', async () => {
    await make(async (em) => {
      const student = await em.findOneOrFail(Student, id)
      student.name = `tutored ${id}`
      student.tutors.add(em.create(Student, { id: -id, name: 'tutor' }))
    })
    expect(await ground.cache.cached(tutored).get({ name: `tutored ${id}` })).toBe(1)
    await make(async (em) => em.remove(await em.findOneOrFail(Student, -id)))
    expect(await ground.cache.cached(tutored).get({ name: `tutored ${id}` })).toBe(0)
  })

  test.each<[string, () => Promise<unknown>]>([
    ['a flush', () => make(async (em) => em.remove(await em.findOneOrFail(Company, id)))],
    ['nativeDelete()', () => ground.fork().nativeDelete(Company, id)],
  ])('stays as it is where an end only loses what it refers to, by %s', async (_how, remove) => {
    await make((em) => {
      em.create(Company, { id })
      em.create(Enrolment, row())
    })
    await ground.fork().nativeUpdate(Student, { id }, { employer: id })
    const read = () => ground.cache.cached(attended).get({ title: `course ${id}` })
    const { hits } = ground.cache.cached(attended).stats()
    expect([await read(), await read()]).toEqual([1, 1])
    await remove()
    expect(await read()).toBe(1)
    expect(ground.cache.cached(attended).stats().hits - hits).toBe(2)
  })

  test('an end that comes, or changes by itself, expires nothing of the other one', async () => {
    await ground.fork().insert(Enrolment, row())
    const title = `course ${id}`
    await ground.cache.cached(attended).get({ title })
    const { hits } = ground.cache.cached(attended).stats()
    await make(async (em) => {
      em.create(Student, { id: -id, name: 'other' })
      Object.assign(await em.findOneOrFail(Student, id), { name: 'student' })
    })
    expect(await ground.cache.cached(attended).get({ title })).toBe(1)
    expect(ground.cache.cached(attended).stats().hits).toBe(hits + 1)
  })
})

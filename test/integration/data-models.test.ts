import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { AIRScore } from '../../src/assessment/air-score.ts'
import { Assessment } from '../../src/assessment/assessment.ts'
import { User } from '../../src/assessment/user.ts'
import { runSql } from '../../src/database/sql.ts'
import { isUuid } from '../../src/database/uuid.ts'
import { createScore, createUser, openMigratedOrm, type TestOrm } from '../support/assessment-orm.ts'
import { dialects } from '../support/databases.ts'

describe.each(dialects)('the data models on %s', (dialect) => {
  let opened: TestOrm
  const fork = () => opened.orm.em.fork()
  beforeAll(async () => {
    opened = await openMigratedOrm(dialect)
  })
  afterEach(async () => {
    await runSql(fork(), 'delete from users')
  })
  afterAll(() => opened.close())

  const save = async (email: string, children = {}) => {
    const em = fork()
    const user = createUser(em, email, children)
    await em.flush()
    return user
  }
  const count = async (table: string) => Number((await runSql<{ n: number }>(fork(), `select count(*) as n from ${table}`))[0]?.n)

  it('ids are uuids of version 7, known at em.create and in the order of creation', () => {
    const em = fork()
    const ids = Array.from({ length: 200 }, (_, index) => createUser(em, `u${index}@x.y`).id)
    expect(ids.every((id) => isUuid(id) && id[14] === '7')).toBe(true)
    expect(ids.toSorted()).toEqual(ids)
  })

  it('defaults are those of the model, in the object and in the row', async () => {
    const em = fork()
    const user = createUser(em, 'defaults@x.y')
    const assessment = em.create(Assessment, { user, component: 'vr' })
    const score = createScore(em, user, 61)
    expect(assessment).toMatchObject({ status: 'in_progress', currentAbility: 0, itemsAdministered: 0 })
    expect(score.calculationMetadata).toEqual({})
    await em.flush()
    expect(await fork().findOneOrFail(Assessment, assessment.id)).toMatchObject({
      status: 'in_progress',
      component: 'vr',
      currentAbility: 0,
      itemsAdministered: 0,
    })
    expect(await fork().findOneOrFail(User, user.id)).toMatchObject({
      occupationCode: null,
      educationLevel: null,
      yearsExperience: null,
    })
    expect((await fork().findOneOrFail(AIRScore, score.id)).calculationMetadata).toEqual({})
  })

  it('defaults also stand in the database, for SQL that names fewer columns', async () => {
    const user = await save('raw-defaults@x.y')
    const now = dialect === 'postgresql' ? 'now()' : '0'
    const id = '01890000-0000-7000-8000-000000000001'
    await runSql(
      fork(),
      `insert into assessments (id, user_id, component, created_at, updated_at) values (?, ?, 'c', ${now}, ${now})`,
      [id, user.id],
    )
    expect(await fork().findOneOrFail(Assessment, id)).toMatchObject({
      status: 'in_progress',
      currentAbility: 0,
      itemsAdministered: 0,
    })
    await runSql(
      fork(),
      `insert into air_scores (id, user_id, occupation_code, air_score, vr_score, hr_score, synergy_score, ci_lower, ci_upper,
         parameter_version, created_at, updated_at) values (?, ?, 'o', 1, 1, 1, 1, 1, 1, 'v', ${now}, ${now})`,
      [id, user.id],
    )
    expect((await fork().findOneOrFail(AIRScore, id)).calculationMetadata).toEqual({})
  })

  it('timestamps are set at creation, and updatedAt at every update', async () => {
    const before = Date.now()
    const user = await save('time@x.y')
    expect(user.createdAt.getTime()).toBeGreaterThanOrEqual(before)
    const em = fork()
    const loaded = await em.findOneOrFail(User, user.id)
    expect(loaded.createdAt).toEqual(user.createdAt)
    expect(loaded.updatedAt).toEqual(user.updatedAt)
    await runSql(em, 'update users set updated_at = created_at where id = ?', [user.id])
    const past = new Date(loaded.createdAt.getTime() - 60_000)
    loaded.createdAt = past
    await em.flush()
    const after = await fork().findOneOrFail(User, user.id)
    expect(after.createdAt).toEqual(past)
    expect(after.updatedAt.getTime()).toBeGreaterThan(past.getTime())
    expect(after.updatedAt).toEqual(loaded.updatedAt)
  })

  it('doubles come back as the same numbers', async () => {
    const em = fork()
    const user = createUser(em, 'double@x.y')
    user.yearsExperience = 0.1 + 0.2
    const score = createScore(em, user, 87.123456789012)
    await em.flush()
    expect((await fork().findOneOrFail(User, user.id)).yearsExperience).toBe(0.1 + 0.2)
    expect((await fork().findOneOrFail(AIRScore, score.id)).airScore).toBe(87.123456789012)
  })

  it('JSON comes back as it was, and an unchanged one is not written again', async () => {
    const em = fork()
    const metadata = {
      model_version: 'GPT-4o',
      nested: { list: [1, 'two', null, { deep: true }], text: 'ünï "quoted" \\ \n' },
      n: 1.5,
    }
    const score = createScore(em, createUser(em, 'json@x.y'), 70)
    score.calculationMetadata = metadata
    await em.flush()
    const again = fork()
    const loaded = await again.findOneOrFail(AIRScore, score.id)
    expect(loaded.calculationMetadata).toEqual(metadata)
    again.getUnitOfWork().computeChangeSets()
    expect(again.getUnitOfWork().getChangeSets()).toEqual([])
  })

  it('an email belongs to one user', async () => {
    await save('same@x.y')
    await expect(save('same@x.y')).rejects.toMatchObject({ name: 'UniqueConstraintViolationException' })
  })

  it.each([
    ['users', 'email', 255],
    ['users', 'name', 255],
    ['users', 'occupationCode', 20],
    ['users', 'educationLevel', 50],
  ] as const)('%s.%s (%s) takes its length and refuses one more', async (_table, property, length) => {
    const em = fork()
    createUser(em, 'length@x.y')[property] = 'ä'.repeat(length)
    await em.flush()
    const tooLong = fork()
    createUser(tooLong, 'longer@x.y')[property] = 'b'.repeat(length + 1)
    await expect(tooLong.flush()).rejects.toThrow()
    expect(await count('users')).toBe(1)
  })

  it.each([
    ['status', 20],
    ['component', 50],
  ] as const)('assessments.%s (%s) takes its length and refuses one more', async (property, length) => {
    const em = fork()
    const assessment = em.create(Assessment, { user: createUser(em, 'length@x.y'), component: 'c' })
    assessment[property] = 'b'.repeat(length)
    await em.flush()
    assessment[property] = 'b'.repeat(length + 1)
    await expect(em.flush()).rejects.toThrow()
  })

  it.each([
    ['occupationCode', 20],
    ['parameterVersion', 20],
  ] as const)('air_scores.%s (%s) takes its length and refuses one more', async (property, length) => {
    const em = fork()
    const score = createScore(em, createUser(em, 'length@x.y'), 1)
    score[property] = 'b'.repeat(length)
    await em.flush()
    score[property] = 'b'.repeat(length + 1)
    await expect(em.flush()).rejects.toThrow()
  })

  const malformed = [
    '',
    'abc',
    'g0000000-0000-7000-8000-000000000000',
    '01890000-0000-7000-8000-00000000000',
    "'; drop table users; --",
  ]

  it.each(malformed)('the malformed id "%s" is refused by the ORM, in writes and in conditions', async (id) => {
    const refused = expect.objectContaining({ code: 'ID_INVALID' })
    expect(() => fork().create(User, { id, email: 'bad@x.y', name: 'Bad' })).toThrow(refused)
    await expect(fork().insert(User, { id, email: 'bad@x.y', name: 'Bad' })).rejects.toEqual(refused)
    await expect(fork().findOne(User, { id })).rejects.toMatchObject({ code: 'ID_INVALID' })
    await expect(fork().find(AIRScore, { user: id })).rejects.toMatchObject({ code: 'ID_INVALID' })
    expect(await count('users')).toBe(0)
  })

  it('an id in upper case, which the dialects would read differently, is refused by the ORM', async () => {
    const { id } = await save('upper@x.y')
    await expect(fork().findOne(User, { id: id.toUpperCase() })).rejects.toMatchObject({ code: 'ID_INVALID' })
  })

  it.each(malformed)('the malformed id "%s" is refused by the database', async (id) => {
    const now = dialect === 'postgresql' ? 'now()' : '0'
    const insert = `insert into users (id, email, name, created_at, updated_at) values (?, 'a', 'b', ${now}, ${now})`
    await expect(runSql(fork(), insert, [id])).rejects.toThrow()
  })

  it('a score without its user is refused', async () => {
    const em = fork()
    createScore(em, em.getReference(User, '01890000-0000-7000-8000-00000000ffff'), 50)
    await expect(em.flush()).rejects.toMatchObject({ name: 'ForeignKeyConstraintViolationException' })
  })

  it('removing a user by the ORM removes its assessments and scores', async () => {
    const user = await save('remove@x.y', { scores: 3, assessments: 2 })
    await save('stays@x.y', { scores: 1, assessments: 1 })
    const em = fork()
    em.remove(await em.findOneOrFail(User, user.id))
    await em.flush()
    expect([await count('users'), await count('air_scores'), await count('assessments')]).toEqual([1, 1, 1])
  })

  it('deleting a user by SQL removes its assessments and scores', async () => {
    const user = await save('delete@x.y', { scores: 3, assessments: 2 })
    await save('stays@x.y', { scores: 1, assessments: 1 })
    await runSql(fork(), 'delete from users where id = ?', [user.id])
    expect([await count('users'), await count('air_scores'), await count('assessments')]).toEqual([1, 1, 1])
  })

  it('a score taken out of its collection is deleted', async () => {
    const user = await save('orphan@x.y', { scores: 2, assessments: 2 })
    const em = fork()
    const loaded = await em.findOneOrFail(User, user.id, { populate: ['scores', 'assessments'] })
    loaded.scores.remove(loaded.scores[0] as AIRScore)
    loaded.assessments.removeAll()
    await em.flush()
    expect([await count('air_scores'), await count('assessments')]).toEqual([1, 0])
  })
})

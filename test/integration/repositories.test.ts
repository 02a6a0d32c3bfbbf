import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AIRScore } from '../../src/assessment/air-score.ts'
import { AIRScoreRepository } from '../../src/assessment/air-score-repository.ts'
import { User } from '../../src/assessment/user.ts'
import { UserRepository } from '../../src/assessment/user-repository.ts'
import { runSql } from '../../src/database/sql.ts'
import type { Page } from '../../src/repository/page.ts'
import { createScore, createUser, openMigratedOrm, type TestOrm } from '../support/assessment-orm.ts'
import { dialects } from '../support/databases.ts'

const unknownId = '01890000-0000-7000-8000-00000000ffff'

describe.each(dialects)('repositories on %s', (dialect) => {
  let opened: TestOrm
  let users: User[]
  const fork = () => opened.orm.em.fork()
  beforeAll(async () => {
    opened = await openMigratedOrm(dialect)
    const em = fork()
    users = Array.from({ length: 12 }, (_, index) => createUser(em, `user${index}@x.y`, { scores: index % 3 }))
    users.forEach((user, index) => {
      // Two names, some without years: ties and nulls in orders.
      user.name = index % 2 === 0 ? 'even' : 'odd'
      user.yearsExperience = index % 4 === 0 ? null : index
      user.createdAt = new Date(1_700_000_000_000 + Math.floor(index / 2))
    })
    await em.flush()
  })
  afterAll(() => opened.close())
  const id = (index: number) => users[index]?.id ?? ''

  it('em.getRepository returns the repositories of the entities', () => {
    expect(fork().getRepository(User)).toBeInstanceOf(UserRepository)
    expect(fork().getRepository(AIRScore)).toBeInstanceOf(AIRScoreRepository)
  })

  it('getById finds, and answers null for an unknown, malformed or missing id', async () => {
    const repository = fork().getRepository(User)
    expect((await repository.getById(id(3)))?.email).toBe('user3@x.y')
    expect(await repository.getById(unknownId)).toBeNull()
    expect(await repository.getById('not an id')).toBeNull()
    expect(await repository.getById(id(3).toUpperCase())).toBeNull()
    expect(await repository.getById(undefined as unknown as string)).toBeNull()
  })

  it('getOrFail names the entity and the id that is not there', async () => {
    const repository = fork().getRepository(User)
    expect((await repository.getOrFail(id(0))).id).toBe(id(0))
    for (const missing of [unknownId, 'not an id']) {
      await expect(repository.getOrFail(missing)).rejects.toMatchObject({
        code: 'ENTITY_NOT_FOUND',
        message: expect.stringContaining(`no User with the id "${missing}"`),
        context: { entity: 'User', id: missing },
      })
    }
  })

  it('getMany answers place by place', async () => {
    const repository = fork().getRepository(User)
    const found = await repository.getMany([id(5), unknownId, id(1), id(5), 'not an id'])
    expect(found.map((user) => user?.email)).toEqual(['user5@x.y', undefined, 'user1@x.y', 'user5@x.y', undefined])
    expect(found[1]).toBeNull()
    expect(found[0]).toBe(found[3])
    expect(await repository.getMany([])).toEqual([])
  })

  it('getMany loads relations with the entities', async () => {
    const [user] = await fork()
      .getRepository(User)
      .getMany([id(2)], { populate: ['scores'] })
    expect(user?.scores.isInitialized()).toBe(true)
    expect(user?.scores.length).toBe(2)
  })

  it('exists asks, and makes nothing managed', async () => {
    const em = fork()
    expect(await em.getRepository(User).exists({ email: 'user1@x.y' })).toBe(true)
    expect(await em.getRepository(User).exists({ email: 'nobody@x.y' })).toBe(false)
    expect(await em.getRepository(User).exists({})).toBe(true)
    expect(await em.getRepository(User).exists({ scores: { airScore: 60 } })).toBe(true)
    expect(await em.getRepository(User).exists({ scores: { airScore: 99 } })).toBe(false)
    expect(em.getUnitOfWork().getIdentityMap().values()).toEqual([])
    for (const nothing of [undefined, null]) {
      const asked = em.getRepository(User).exists(nothing as never)
      await expect(asked).rejects.toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining(`given ${nothing}`) })
    }
  })

  it('byEmail compares exactly', async () => {
    const repository = fork().getRepository(User)
    expect((await repository.byEmail('user7@x.y'))?.id).toBe(id(7))
    expect(await repository.byEmail('USER7@x.y')).toBeNull()
    // An unchecked request could hold a condition where an email belongs.
    for (const email of [{ $ne: '' }, { $like: '%' }, ['user7@x.y'], {}, null, undefined]) {
      expect(await repository.byEmail(email as never)).toBeNull()
    }
  })

  it('getWithScores loads the scores, oldest first', async () => {
    const user = await fork().getRepository(User).getWithScores(id(5))
    expect(user?.scores.getItems().map(({ airScore }) => airScore)).toEqual([60, 61])
    expect(await fork().getRepository(User).getWithScores(unknownId)).toBeNull()
    expect(await fork().getRepository(User).getWithScores('not an id')).toBeNull()
  })

  it('latestFor gives the newest score, and of two in one millisecond the one created later', async () => {
    const em = fork()
    const user = createUser(em, 'latest@x.y')
    const scores = [1, 2, 3].map((value) => createScore(em, user, value))
    for (const score of scores) score.createdAt = new Date(1_700_000_000_000)
    await em.flush()
    const repository = fork().getRepository(AIRScore)
    expect((await repository.latestFor(user.id))?.airScore).toBe(3)
    const newer = createScore(em, user, 4)
    newer.createdAt = new Date(1_700_000_000_001)
    const older = createScore(em, user, 5)
    older.createdAt = new Date(1_600_000_000_000)
    await em.flush()
    expect((await repository.latestFor(user.id))?.airScore).toBe(4)
    expect(await repository.latestFor(unknownId)).toBeNull()
    expect(await repository.latestFor('not an id')).toBeNull()
    await runSql(fork(), 'delete from users where id = ?', [user.id])
  })

  const allPages = async (options: Parameters<UserRepository['page']>[0]) => {
    const emails: string[] = []
    const sizes: number[] = []
    for (let after: string | null = null; ; ) {
      const page: Page<User> = await fork()
        .getRepository(User)
        .page({ ...options, after })
      emails.push(...page.items.map(({ email }) => email))
      sizes.push(page.items.length)
      after = page.nextCursor
      if (after === null) return { emails, sizes }
    }
  }

  it.each([
    ['by id', {}],
    ['by creation, newest first', { orderBy: { createdAt: 'desc' } }],
    ['by name', { orderBy: [{ name: 'asc' }] }],
    ['by two, one with nulls', { orderBy: [{ yearsExperience: 'desc' }, { createdAt: 'asc' }] }],
    ['by id downwards', { orderBy: { id: 'desc' } }],
  ] as const)('pages %s hold every entity once, in the order of one query', async (_name, options) => {
    const { emails, sizes } = await allPages({ ...options, first: 5 })
    const orderBy = 'orderBy' in options ? [options.orderBy].flat() : []
    const expected = await fork().find(User, {}, { orderBy: [...orderBy, { id: 'asc' }] as never })
    expect(emails).toEqual(expected.map(({ email }) => email))
    expect(sizes).toEqual([5, 5, 2])
  })

  it("pages ordered by a relation's property hold every entity once, whether or not it is populated", async () => {
    const orderBy = { user: { email: 'desc' } } as const
    const expected = await fork().find(AIRScore, {}, { orderBy: [orderBy, { id: 'asc' }], populate: ['user'] })
    expect(expected.length).toBeGreaterThan(5)
    for (const populate of [[], ['user'], false] as const) {
      const ids: string[] = []
      let after: string | null = null
      do {
        const page: Page<AIRScore> = await fork()
          .getRepository(AIRScore)
          .page({ first: 5, orderBy, populate: populate as never, after })
        ids.push(...page.items.map((score) => score.id))
        after = page.nextCursor
      } while (after !== null)
      expect(ids).toEqual(expected.map((score) => score.id))
    }
  })

  it.each([
    [{ name: 'sideways' }, 'orderBy.name is "sideways"'],
    [[{ name: 'asc' }, { email: undefined }], 'orderBy.email is undefined'],
    [{ createdAt: 2 }, 'orderBy.createdAt is 2'],
    [{ scores: { createdAt: 'asc' } }, 'orderBy.scores leads from one User to others'],
    [{ nmae: 'asc' }, 'orderBy.nmae: User has no property `nmae`; did you mean `name`?'],
    [{ toString: 'asc' }, 'User has no property `toString`'],
    ['name', 'orderBy is "name"; give'],
    [7, 'orderBy is 7'],
    [[null], 'orderBy is null'],
  ])('an order that is none, %j, is refused', async (orderBy, words) => {
    const page = fork()
      .getRepository(User)
      .page({ orderBy: orderBy as never })
    await expect(page).rejects.toMatchObject({ code: 'OPTION_INVALID', message: expect.stringContaining(words) })
  })

  it('the last full page has no next cursor', async () => {
    expect((await allPages({ first: 6 })).sizes).toEqual([6, 6])
    expect((await allPages({ first: 12 })).sizes).toEqual([12])
  })

  it('pages hold only what matches, with relations loaded', async () => {
    const page = await fork()
      .getRepository(User)
      .page({ where: { name: 'odd' }, first: 3, populate: ['scores'], orderBy: { email: 'asc' } })
    expect(page.items.map(({ email }) => email)).toEqual(['user11@x.y', 'user1@x.y', 'user3@x.y'].sort())
    expect(page.items.every(({ scores }) => scores.isInitialized())).toBe(true)
  })

  it('rows that come meanwhile neither repeat nor hide others', async () => {
    const firstPage = await fork()
      .getRepository(User)
      .page({ first: 4, orderBy: { email: 'asc' } })
    const em = fork()
    const early = createUser(em, 'aaa-first@x.y')
    await em.flush()
    const second = await fork()
      .getRepository(User)
      .page({ first: 4, orderBy: { email: 'asc' }, after: firstPage.nextCursor })
    expect(second.items.map(({ email }) => email)).toEqual(['user2@x.y', 'user3@x.y', 'user4@x.y', 'user5@x.y'])
    await runSql(fork(), 'delete from users where id = ?', [early.id])
  })

  it('a damaged or foreign cursor is refused', async () => {
    const repository = fork().getRepository(User)
    const { nextCursor } = await repository.page({ first: 2 })
    const cursor = nextCursor ?? ''
    const damaged = [
      `${cursor.slice(0, -3)}AAA`,
      cursor.slice(1),
      'garbage',
      '',
      '[]',
      Buffer.from('["x"]').toString('base64url'),
    ]
    for (const after of damaged) {
      await expect(repository.page({ first: 2, after })).rejects.toMatchObject({ code: 'PAGE_CURSOR_INVALID' })
    }
    await expect(repository.page({ after: cursor, orderBy: { name: 'asc' } })).rejects.toMatchObject({
      code: 'PAGE_CURSOR_INVALID',
    })
    await expect(fork().getRepository(AIRScore).page({ after: cursor })).rejects.toMatchObject({ code: 'PAGE_CURSOR_INVALID' })
    await expect(repository.page({ after: 7 as unknown as string })).rejects.toMatchObject({ code: 'PAGE_CURSOR_INVALID' })
  })

  it.each([0, -1, 1.5, 1001, Number.NaN])('a page of %s is refused', async (first) => {
    await expect(fork().getRepository(User).page({ first })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  it('upsertMany inserts what is new and updates what is there', async () => {
    const em = fork()
    const [existing] = users
    const rows = await em.getRepository(User).upsertMany([
      { id: existing?.id ?? '', email: 'user0@x.y', name: 'changed', createdAt: new Date(0), updatedAt: new Date(0) },
      { id: unknownId, email: 'upserted@x.y', name: 'new', createdAt: new Date(0), updatedAt: new Date(0) },
    ])
    expect(rows.map(({ name }) => name)).toEqual(['changed', 'new'])
    expect((await fork().getRepository(User).byEmail('user0@x.y'))?.name).toBe('changed')
    await runSql(fork(), 'delete from users where id = ?', [unknownId])
  })

  it('stream yields every entity, one after the other', async () => {
    const emails: string[] = []
    for await (const user of fork()
      .getRepository(User)
      .stream({ orderBy: { id: 'asc' } }))
      emails.push(user.email)
    expect(emails).toEqual(users.map(({ email }) => email))
  })
})

import { defineEntity, p } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AIRScore } from '../../src/assessment/air-score.ts'
import { Assessment } from '../../src/assessment/assessment.ts'
import { User } from '../../src/assessment/user.ts'
import { idProps } from '../../src/database/entity-props.ts'
import { type QueryScope, type QueryScopeOptions, withQueries } from '../../src/database/query-scope.ts'
import { watchQueries } from '../../src/database/query-watch.ts'
import { silentLogger } from '../../src/kernel/logger.ts'
import { createScore, createUser, openMigratedOrm, type TestOrm } from '../support/assessment-orm.ts'
import { dialects } from '../support/databases.ts'

const BookSchema = defineEntity({
  name: 'Book',
  tableName: 'books',
  properties: { ...idProps, title: p.string(), tags: () => p.manyToMany(Tag).pivotTable('book_tags') },
})
class Book extends BookSchema.class {}
BookSchema.setClass(Book)

const TagSchema = defineEntity({
  name: 'Tag',
  tableName: 'tags',
  properties: { ...idProps, label: p.string(), books: () => p.manyToMany(Book).mappedBy('tags') },
})
class Tag extends TagSchema.class {}
TagSchema.setClass(Tag)

const userCount = 6

describe.each(dialects)('the N+1 guard on %s', (dialect) => {
  let opened: TestOrm
  let ids: string[]
  const fork = () => opened.orm.em.fork()
  beforeAll(async () => {
    opened = await openMigratedOrm(dialect, { entities: [User, Assessment, AIRScore, Book, Tag] })
    watchQueries(opened.orm)
    await opened.orm.schema.update({ safe: true })
    const em = fork()
    ids = Array.from({ length: userCount }, (_, index) => createUser(em, `user${index}@x.y`, { scores: 3 }).id)
    const tags = ['a', 'b'].map((label) => em.create(Tag, { label }))
    for (let index = 0; index < 4; index++) em.create(Book, { title: `book ${index}`, tags })
    await em.flush()
  })
  afterAll(() => opened.close())

  const watch = (block: () => Promise<unknown>, options: QueryScopeOptions = {}) =>
    withQueries(
      async (scope: QueryScope) => {
        await block()
        return scope
      },
      { nPlusOne: 'warn', logger: silentLogger, ...options },
    )

  it('the N+1 of users and scores takes 1 + N queries, its cure 2 or 1', async () => {
    const loop = await watch(async () => {
      for (const user of await fork().find(User, {})) await user.scores.init()
    })
    const selectIn = await watch(() => fork().find(User, {}, { populate: ['scores'], strategy: 'select-in' }))
    const joined = await watch(() => fork().find(User, {}, { populate: ['scores'], strategy: 'joined' }))
    const one = await watch(() =>
      fork()
        .getRepository(User)
        .getWithScores(ids[0] ?? ''),
    )
    expect([loop.count, selectIn.count, joined.count, one.count]).toEqual([1 + userCount, 2, 1, 2])
    expect(loop.suspects).toHaveLength(1)
    expect([...selectIn.suspects, ...joined.suspects, ...one.suspects]).toEqual([])
  })

  it('a suspect names the relation, the line of the application, the number and the cure', async () => {
    let line = ''
    const { suspects } = await watch(async () => {
      for (const user of await fork().find(User, {})) {
        line = nextLine()
        await user.scores.init()
      }
    })
    expect(suspects).toEqual([
      {
        relation: 'User.scores',
        entity: 'AIRScore',
        caller: expect.stringContaining(line),
        queries: userCount,
        sql: expect.stringMatching(/^select .*air_scores/),
        cure: expect.stringContaining("populate: ['scores']"),
      },
    ])
  })

  it('throw ends the block with N_PLUS_ONE, which says it all', async () => {
    const attempt = watch(
      async () => {
        for (const user of await fork().find(User, {})) await user.scores.init()
      },
      { nPlusOne: 'throw' },
    )
    await expect(attempt).rejects.toMatchObject({
      code: 'N_PLUS_ONE',
      message: expect.stringMatching(
        /User\.scores was loaded in 6 queries, .*n-plus-one\.test\.ts:\d+:\d+\. .*populate: \['scores'\]/,
      ),
    })
  })

  it('warn logs each line once', async () => {
    const warnings: string[] = []
    const logger = { ...silentLogger, warn: (message: string) => warnings.push(message) }
    for (let round = 0; round < 3; round++) {
      await watch(
        async () => {
          for (const user of await fork().find(User, {})) await user.scores.loadItems()
        },
        { logger },
      )
    }
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toMatch(/^N\+1: User\.scores was loaded in 6 queries/)
  })

  it('off sees queries and suspects nothing', async () => {
    const scope = await watch(
      async () => {
        for (const user of await fork().find(User, {})) await user.scores.init()
      },
      { nPlusOne: 'off' },
    )
    expect([scope.count, scope.suspects.length]).toEqual([1 + userCount, 0])
  })

  it('loading side by side is found like a loop', async () => {
    const { suspects } = await watch(async () => {
      const users = await fork().find(User, {})
      await Promise.all(users.map((user) => user.scores.init()))
    })
    expect(suspects).toMatchObject([{ relation: 'User.scores', queries: userCount }])
    expect(suspects[0]?.caller).toContain('n-plus-one.test.ts')
  })

  it('a reference that is loaded for each owner is named by the owner that was read', async () => {
    const { suspects } = await watch(async () => {
      for (const score of await fork().find(AIRScore, {})) await score.user.load()
    })
    expect(suspects).toMatchObject([
      { relation: 'AIRScore.user', entity: 'User', cure: expect.stringContaining("populate: ['user']") },
    ])
  })

  it('a query of a repository in a loop is named too', async () => {
    const { suspects } = await watch(async () => {
      const repository = fork().getRepository(AIRScore)
      for (const id of ids) await repository.latestFor(id)
    })
    expect(suspects).toMatchObject([{ relation: 'User.scores', queries: userCount }])
    expect(suspects[0]?.caller).toContain('n-plus-one.test.ts')
  })

  it('entities read by key one by one are told to be read together', async () => {
    const byKey = await watch(async () => {
      const em = fork()
      for (const id of ids) await em.getRepository(User).getById(id)
    })
    expect(byKey.suspects).toMatchObject([{ relation: undefined, entity: 'User', cure: expect.stringContaining('getMany') }])
    const byEmail = await watch(async () => {
      const em = fork()
      for (let index = 0; index < 4; index++) await em.getRepository(User).byEmail(`user${index}@x.y`)
    })
    expect(byEmail.suspects).toMatchObject([{ relation: undefined, entity: 'User', queries: 4 }])
  })

  it('many to many is named by its owner', async () => {
    const { suspects } = await watch(async () => {
      for (const book of await fork().find(Book, {})) await book.tags.init()
    })
    expect(suspects).toMatchObject([{ relation: 'Book.tags', queries: 4 }])
  })

  it('two loops on two lines are two suspects', async () => {
    const { suspects } = await watch(async () => {
      for (const user of await fork().find(User, {})) await user.scores.init()
      for (const user of await fork().find(User, {})) await user.assessments.init()
    })
    expect(suspects.map(({ relation }) => relation)).toEqual(['User.scores', 'User.assessments'])
  })

  it('the threshold can be raised', async () => {
    const loop = async () => {
      for (const user of await fork().find(User, {})) await user.scores.init()
    }
    expect((await watch(loop, { threshold: userCount })).suspects).toHaveLength(1)
    expect((await watch(loop, { threshold: userCount + 1 })).suspects).toEqual([])
  })

  describe('gives no false alarm for', () => {
    it('the same find in different requests', async () => {
      const scope = await watch(() => Promise.all(ids.map((id) => fork().find(AIRScore, { user: id }))))
      expect([scope.count, scope.suspects.length]).toEqual([userCount, 0])
    })

    it('lookups on different lines', async () => {
      const { suspects } = await watch(async () => {
        const em = fork()
        await em.findOne(User, ids[0] ?? '')
        await em.findOne(User, ids[1] ?? '')
        await em.findOne(User, ids[2] ?? '')
      })
      expect(suspects).toEqual([])
    })

    it('one key that is read again and again', async () => {
      const { suspects } = await watch(async () => {
        const em = fork()
        for (let round = 0; round < 5; round++) await em.findOne(User, { id: ids[0] ?? '' }, { refresh: true })
      })
      expect(suspects).toEqual([])
    })

    it('writes', async () => {
      const { suspects } = await watch(async () => {
        const em = fork()
        for (const id of ids) {
          await em.nativeUpdate(User, { id }, { name: 'changed' })
          createScore(em, em.getReference(User, id), 50)
          await em.flush()
        }
      })
      expect(suspects).toEqual([])
    })

    it('loading in chunks', async () => {
      const { suspects } = await watch(async () => {
        const em = fork()
        for (let index = 0; index < ids.length; index += 2) {
          await em.find(AIRScore, { user: { $in: ids.slice(index, index + 2) } })
        }
      })
      expect(suspects).toEqual([])
    })

    it('pages', async () => {
      const { suspects } = await watch(async () => {
        const repository = fork().getRepository(User)
        for (let after: string | null | undefined; after !== null; )
          after = (await repository.page({ first: 1, after })).nextCursor
      })
      expect(suspects).toEqual([])
    })

    it('conditions on what is no key', async () => {
      const { suspects } = await watch(async () => {
        const em = fork()
        for (const name of ['a', 'b', 'c', 'd']) await em.find(User, { name })
      })
      expect(suspects).toEqual([])
    })
  })
})

/** The line after the caller's, as a stack shows it. */
function nextLine(): string {
  const here = /n-plus-one\.test\.ts:(\d+)/.exec(new Error('here').stack?.split('\n')[2] ?? '')?.[1]
  return `n-plus-one.test.ts:${Number(here) + 1}:`
}

import type { EntityManager } from '@mikro-orm/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AIRScore, assessment, User } from '../../src/assessment/index.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { createScore, createUser } from '../support/assessment-orm.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

describe.each(dialects)('entities after a nested unit was rolled back, on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  let userId: string
  let scoreId: string

  beforeEach(async () => {
    database = await openTestDatabase(dialect)
    data = await createDataAccess({ modules: [assessment], database: { url: database.url } })
    await data.migrate()
    await data.unitOfWork(async ({ em }) => {
      const user = createUser(em, 'alex@innovateai.dev', { scores: 1 })
      userId = user.id
      scoreId = user.scores[0]?.id ?? ''
    })
  })
  afterEach(async () => {
    await data.close()
    await database.close()
  })

  const rolledBack = async (work: (em: EntityManager) => Promise<void>, { flush = true } = {}) => {
    const nested = data.unitOfWork(async ({ em }) => {
      await work(em)
      if (flush) await em.flush()
      throw new Error('only the savepoint')
    })
    await expect(nested).rejects.toThrow('only the savepoint')
  }
  const read = async () => {
    const user = await data.fork().findOneOrFail(User, userId, { populate: ['scores'] })
    return { name: user.name, scores: user.scores.getItems().map(({ airScore }) => airScore) }
  }
  const unchanged = { name: 'Name of alex@innovateai.dev', scores: [60] }

  it('a reference that was loaded and changed inside is read anew', async () => {
    await data.unitOfWork(async ({ em }) => {
      const score = await em.findOneOrFail(AIRScore, scoreId)
      await rolledBack(async (inner) => {
        ;(await inner.findOneOrFail(User, userId)).name = 'never'
      })
      expect((await score.user.loadOrFail()).name).toBe(unchanged.name)
    })
    expect(await read()).toEqual(unchanged)
  })

  it('a relation that was loaded and emptied inside deletes nothing', async () => {
    await data.unitOfWork(async ({ em }) => {
      const user = await em.findOneOrFail(User, userId)
      await rolledBack(
        async () => {
          await user.scores.loadItems()
          user.scores.removeAll()
        },
        { flush: false },
      )
      expect(await user.scores.loadItems()).toHaveLength(1)
    })
    expect(await read()).toEqual(unchanged)
  })

  it('a loaded relation that was emptied inside deletes nothing', async () => {
    await data.unitOfWork(async ({ em }) => {
      const user = await em.findOneOrFail(User, userId, { populate: ['scores'] })
      await rolledBack(async () => user.scores.removeAll(), { flush: false })
      expect(user.scores).toHaveLength(1)
    })
    expect(await read()).toEqual(unchanged)
  })

  it.each([true, false])('items that were loaded and changed inside stay as they are, flushed: %s', async (flush) => {
    await data.unitOfWork(async ({ em }) => {
      const user = await em.findOneOrFail(User, userId)
      let score: AIRScore | undefined
      await rolledBack(
        async () => {
          score = (await user.scores.loadItems())[0]
          if (score !== undefined) score.airScore = 1
        },
        { flush },
      )
      expect(score?.airScore).toBe(60)
    })
    expect(await read()).toEqual(unchanged)
  })

  it('a new item is in no relation, loaded or not', async () => {
    for (const populate of [[], ['scores']] as const) {
      await data.unitOfWork(async ({ em }) => {
        const user = await em.findOneOrFail(User, userId, { populate: populate as never })
        await rolledBack(async (inner) => void createScore(inner, user, 99))
        expect(await user.scores.loadItems()).toHaveLength(1)
      })
      expect(await read()).toEqual(unchanged)
    }
  })

  it('a property that was not loaded outside is not written', async () => {
    await data.unitOfWork(async ({ em }) => {
      await em.findOneOrFail(User, userId, { fields: ['email'] })
      await rolledBack(async (inner) => {
        ;(await inner.findOneOrFail(User, userId, { refresh: true })).name = 'never'
      })
    })
    expect(await read()).toEqual(unchanged)
  })
})

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AIRScore } from '../../src/assessment/air-score.ts'
import { assessment } from '../../src/assessment/assessment-module.ts'
import { calculateAndStoreAIRScore } from '../../src/assessment/calculate-and-store-air-score.ts'
import { User } from '../../src/assessment/user.ts'
import { createDataAccess, type DataAccess } from '../../src/data-access.ts'
import { DomainEvent } from '../../src/outbox/event/domain-event.ts'
import { createUser } from '../support/assessment-orm.ts'
import { dialects, openTestDatabase, type TestDatabase } from '../support/databases.ts'

describe.each(dialects)('calculateAndStoreAIRScore on %s', (dialect) => {
  let database: TestDatabase
  let data: DataAccess
  let userId: string
  beforeAll(async () => {
    database = await openTestDatabase(dialect)
    data = await createDataAccess({ modules: [assessment], database: { url: database.url } })
    await data.migrate()
    userId = await data.unitOfWork(async ({ em }) => createUser(em, 'alex@x.y').id)
  })
  afterAll(async () => {
    await data.close()
    await database.close()
  })

  it('stores a score and its event together, and returns both', async () => {
    const { score, event } = await calculateAndStoreAIRScore(data, userId, '15-1252')
    const stored = await data.fork().findOneOrFail(AIRScore, score.id)
    expect(stored).toMatchObject({ occupationCode: '15-1252', airScore: score.airScore, parameterVersion: 'v1.2' })
    expect(stored.user.id).toBe(userId)
    expect(stored.calculationMetadata).toEqual({ model_version: 'GPT-4o', analysis_date: expect.any(String) })
    const storedEvent = await data.fork().findOneOrFail(DomainEvent, event.id)
    expect(storedEvent).toMatchObject({
      eventType: 'AIRScoreCalculated',
      aggregateType: 'AIRScore',
      aggregateId: score.id,
      status: 'pending',
      payload: { userId, airScoreId: score.id, airScoreValue: score.airScore, occupation: '15-1252' },
    })
  })

  it('draws every score from its range', async () => {
    for (let index = 0; index < 20; index++) {
      const { score } = await calculateAndStoreAIRScore(data, userId, '15-1252')
      const ranges = {
        airScore: [60, 95],
        vrScore: [50, 90],
        hrScore: [40, 85],
        synergyScore: [70, 99],
        ciLower: [55, 75],
        ciUpper: [80, 98],
      }
      for (const [property, [low = 0, high = 0]] of Object.entries(ranges)) {
        const value = score[property as keyof typeof ranges]
        expect(value).toBeGreaterThanOrEqual(low)
        expect(value).toBeLessThanOrEqual(high)
      }
    }
  })

  it.each(['01890000-0000-7000-8000-00000000ffff', 'not an id'])(
    'for the unknown user "%s" it stores nothing and says so',
    async (unknown) => {
      const em = data.fork()
      const before = [await em.count(AIRScore), await em.count(DomainEvent)]
      await expect(calculateAndStoreAIRScore(data, unknown, '15-1252')).rejects.toMatchObject({
        code: 'ENTITY_NOT_FOUND',
        context: { entity: 'User', id: unknown },
      })
      expect([await em.count(AIRScore), await em.count(DomainEvent)]).toEqual(before)
    },
  )

  it('with an occupation that is too long it stores neither score nor event', async () => {
    const em = data.fork()
    const before = [await em.count(AIRScore), await em.count(DomainEvent)]
    await expect(calculateAndStoreAIRScore(data, userId, 'x'.repeat(21))).rejects.toThrow()
    expect([await em.count(AIRScore), await em.count(DomainEvent)]).toEqual(before)
  })

  it('the user has its scores', async () => {
    const user = await data.fork().getRepository(User).getWithScores(userId)
    const latest = await data.fork().getRepository(AIRScore).latestFor(userId)
    expect(user?.scores.getItems().at(-1)?.id).toBe(latest?.id)
  })
})

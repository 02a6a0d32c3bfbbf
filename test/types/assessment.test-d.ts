import type { Collection, EntityManager, Loaded, Opt, Ref } from '@mikro-orm/core'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { expectTypeOf } from 'vitest'
import { AIRScore } from '../../src/assessment/air-score.ts'
import type { AIRScoreCalculated } from '../../src/assessment/air-score-calculated.ts'
import type { AIRScoreRepository } from '../../src/assessment/air-score-repository.ts'
import { Assessment } from '../../src/assessment/assessment.ts'
import { userCache } from '../../src/assessment/cache-policies.ts'
import { calculateAndStoreAIRScore } from '../../src/assessment/calculate-and-store-air-score.ts'
import { User } from '../../src/assessment/user.ts'
import type { UserRepository } from '../../src/assessment/user-repository.ts'
import type { DataAccess } from '../../src/data-access.ts'
import { type QueryScope, withQueries } from '../../src/database/query-scope.ts'
import { DomainEvent, type DomainEventRepository } from '../../src/outbox/event/domain-event.ts'
import type { Page } from '../../src/repository/page.ts'

// Checked by `tsc`; never run.
export async function types(em: EntityManager, data: DataAccess): Promise<void> {
  const user = em.create(User, { email: 'a@b.c', name: 'A' })
  expectTypeOf<string>(user.id)
  expectTypeOf(user.name).toEqualTypeOf<string>()
  expectTypeOf<number | null | undefined>(user.yearsExperience)
  expectTypeOf<Opt<Date> | Date>(user.createdAt)
  expectTypeOf(user.scores).toEqualTypeOf<Collection<AIRScore>>()
  expectTypeOf(user.assessments).toEqualTypeOf<Collection<Assessment>>()
  // @ts-expect-error a user needs a name
  em.create(User, { email: 'a@b.c' })
  // @ts-expect-error an assessment needs its component
  em.create(Assessment, { user })
  em.create(Assessment, { user, component: 'vr' })

  const score = await em.findOneOrFail(AIRScore, 'id')
  expectTypeOf(score.user).toEqualTypeOf<Ref<User>>()
  expectTypeOf<number>(score.airScore)
  expectTypeOf<Readonly<Record<string, unknown>>>(score.calculationMetadata)

  expectTypeOf(em.getRepository(User)).toEqualTypeOf<UserRepository>()
  expectTypeOf(em.getRepository(AIRScore)).toEqualTypeOf<AIRScoreRepository>()
  expectTypeOf(em.getRepository(DomainEvent)).toEqualTypeOf<DomainEventRepository>()

  const users = em.getRepository(User)
  expectTypeOf(await users.getById('id')).toEqualTypeOf<Loaded<User> | null>()
  expectTypeOf(await users.getOrFail('id', { populate: ['scores'] })).toEqualTypeOf<Loaded<User, 'scores'>>()
  expectTypeOf(await users.getMany(['id'])).toEqualTypeOf<(Loaded<User> | null)[]>()
  expectTypeOf(await users.getWithScores('id')).toEqualTypeOf<Loaded<User, 'scores'> | null>()
  expectTypeOf(await users.page()).toEqualTypeOf<Page<Loaded<User>>>()
  await users.page({ orderBy: { createdAt: 'desc' }, where: { name: 'A' }, populate: ['scores'] })
  // @ts-expect-error there is no such property
  await users.page({ orderBy: { nickname: 'asc' } })
  // @ts-expect-error an id is a string
  await users.getById(7)
  expectTypeOf(await em.getRepository(AIRScore).latestFor('id')).toEqualTypeOf<AIRScore | null>()

  const { event } = await calculateAndStoreAIRScore(data, 'id', '15-1252')
  expectTypeOf(event.payload).toEqualTypeOf<StandardSchemaV1.InferOutput<typeof AIRScoreCalculated.payload>>()
  expectTypeOf<{ userId: string; airScoreId: string; airScoreValue: number; occupation: string }>(event.payload)

  expectTypeOf(await data.cached(userCache).byEmail('a@b.c')).toEqualTypeOf<User | null>()
  // @ts-expect-error the policy has no lookup by name
  data.cached(userCache).byName('A')
  // @ts-expect-error the lookups are known from the policy, not from the entity
  data.cached(User).byEmail('a@b.c')
  expectTypeOf(await data.cached(User).get('id')).toEqualTypeOf<User | null>()

  const seven = await withQueries(async (queries) => {
    expectTypeOf(queries).toEqualTypeOf<QueryScope>()
    return 7
  })
  expectTypeOf(seven).toEqualTypeOf<number>()
}

import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { RecordedEvent } from '../outbox/event/recorded-event.ts'
import type { Work } from '../unit-of-work/unit-of-work.ts'
import { AIRScore } from './air-score.ts'
import { AIRScoreCalculated } from './air-score-calculated.ts'
import { User } from './user.ts'

/** What runs units of work: a data access. */
export interface UnitOfWorkHost {
  unitOfWork<Result>(work: Work<Result>): Promise<Result>
}

/** What was stored together: the score and its event. */
export interface CalculatedAIRScore {
  readonly score: AIRScore
  readonly event: RecordedEvent<StandardSchemaV1.InferOutput<typeof AIRScoreCalculated.payload>>
}

/**
 * Calculates an AI-R score for a user, at random within the ranges of the model, and stores it together with its
 * `AIRScoreCalculated` event: both, or neither.
 *
 * @throws DataAccessError `ENTITY_NOT_FOUND` when there is no such user.
 */
export function calculateAndStoreAIRScore(data: UnitOfWorkHost, userId: string, occupation: string): Promise<CalculatedAIRScore> {
  return data.unitOfWork(async ({ em, record }) => {
    const user = await em.getRepository(User).getOrFail(userId)
    const score = em.create(AIRScore, {
      user,
      occupationCode: occupation,
      airScore: between(60, 95),
      vrScore: between(50, 90),
      hrScore: between(40, 85),
      synergyScore: between(70, 99),
      ciLower: between(55, 75),
      ciUpper: between(80, 98),
      parameterVersion: 'v1.2',
      calculationMetadata: { model_version: 'GPT-4o', analysis_date: new Date().toISOString() },
    })
    const event = record(AIRScoreCalculated, score, {
      userId,
      airScoreId: score.id,
      airScoreValue: score.airScore,
      occupation,
    })
    return { score, event }
  })
}

function between(low: number, high: number): number {
  return low + Math.random() * (high - low)
}

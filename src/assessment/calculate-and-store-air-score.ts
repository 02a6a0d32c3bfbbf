import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { RecordedEvent } from '../outbox/event/recorded-event.ts'
import type { Work } from '../unit-of-work/unit-of-work.ts'
import { AIRScore } from './air-score.ts'
import { AIRScoreCalculated } from './air-score-calculated.ts'
import { User } from './user.ts'

/** What runs units of work: a data access. */
export interface UnitOfWorkHost {
  /** Runs work in one transaction, as `DataAccess.unitOfWork()` does. */
  unitOfWork<Result>(work: Work<Result>): Promise<Result>
}

/** What was stored together: the score and its event. */
export interface CalculatedAIRScore {
  /** The new row, managed by the entity manager of the unit that has ended. */
  readonly score: AIRScore
  /** Its event, whose aggregate is the score. */
  readonly event: RecordedEvent<StandardSchemaV1.InferOutput<typeof AIRScoreCalculated.payload>>
}

/**
 * Calculates an AI-R score for a user and stores it together with its `AIRScoreCalculated` event: both, or neither. In place of a model each
 * value is drawn at random: the score from 60 to 95, its interval from 55 … 75 to 80 … 98.
 *
 * @param occupation a code of at most 20 characters.
 * @throws DataAccessError `ENTITY_NOT_FOUND` when there is no such user; `EVENT_PAYLOAD_REFUSED` for a longer code; what `unitOfWork()` throws.
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

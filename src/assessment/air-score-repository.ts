import { isUuid } from '../database/uuid.ts'
import { DataRepository } from '../repository/data-repository.ts'
import type { AIRScore } from './air-score.ts'

/** The AI-R scores; `em.getRepository(AIRScore)` returns it. */
export class AIRScoreRepository extends DataRepository<AIRScore> {
  /**
   * Resolves to a user's newest score, or to null; of two in one millisecond, the one with the greater id, which was created
   * later. One query, served by the index on user_id.
   */
  async latestFor(userId: string): Promise<AIRScore | null> {
    if (!isUuid(userId)) return null
    return this.findOne({ user: userId }, { orderBy: { createdAt: 'desc', id: 'desc' } })
  }
}

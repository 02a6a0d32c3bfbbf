import { cachedQuery, dep } from '../cache/cached-query.ts'
import { cachePolicy } from '../cache/policy.ts'
import { AIRScore } from './air-score.ts'
import { User } from './user.ts'

/** How long a cached row may live, in ms, should the news of its change ever be lost. */
const ttl = 5 * 60_000

/** Users are cached by id and by email. */
export const userCache = cachePolicy(User, { ttl, uniques: ['email'] })

/** Scores are cached by id. */
export const airScoreCache = cachePolicy(AIRScore, { ttl })

/** A user's newest score: `data.cached(latestScore).get({ userId })`. A new, changed, moved or deleted score expires it. */
export const latestScore = cachedQuery({
  name: 'latestScore',
  ttl,
  dependsOn: ({ userId }: { readonly userId: string }) => [dep(AIRScore, { user: userId })],
  run: (em, { userId }): Promise<AIRScore | null> => em.getRepository(AIRScore).latestFor(userId),
})

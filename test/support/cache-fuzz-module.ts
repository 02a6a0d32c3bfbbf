import { AIRScore } from '../../src/assessment/air-score.ts'
import { User } from '../../src/assessment/index.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import type { DataModule } from '../../src/module.ts'

/** What the name of a user holds: how often he was written, and how often his scores were, each by a commit. */
export interface FuzzVersions {
  readonly row: number
  readonly scores: number
}

export const firstName = nameOf({ row: 0, scores: 0 })

export function nameOf({ row, scores }: FuzzVersions): string {
  return `${row}.${scores}`
}

export function versionsIn(name: string): FuzzVersions {
  const [row, scores] = name.split('.').map(Number)
  return { row: row ?? -1, scores: scores ?? -1 }
}

/** Each address belongs to its user for one while: the next one takes its place. */
export function emailOf(user: number, turn: number): string {
  return `${user}.${turn}@fuzz.example`
}

export function turnOf(email: string): number {
  return Number(email.split('@', 1)[0]?.split('.')[1])
}

/**
 * The scores of a user, and how often they had been written as that was read. What it is read from beside the scores it does not depend on: so
 * it is as old as they say, unless what wrote them expired it.
 */
export const scoresOf = cachedQuery({
  name: 'scoresOf',
  dependsOn: ({ userId }: { readonly userId: string }) => [dep(AIRScore, { user: userId })],
  run: async (em, { userId }) => {
    const { name } = await em.findOneOrFail(User, userId)
    return { version: versionsIn(name).scores, scores: await em.find(AIRScore, { user: userId }) }
  },
})

export const fuzzModule: DataModule = { name: 'fuzz', caches: [scoresOf] }

import type { EntityManager } from '@mikro-orm/core'
import { AIRScore } from '../../src/assessment/air-score.ts'
import { User, userCache } from '../../src/assessment/index.ts'
import { cachedQuery, dep } from '../../src/cache/cached-query.ts'
import type { DataAccess } from '../../src/data-access.ts'
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

/** The addresses that a user has had lately, and the one he has. */
function emailsUntil(last: string): string[] {
  const [user, turn] = [Number(last.split('.', 1)[0]), turnOf(last)]
  return Array.from({ length: Math.min(turn, 10) + 1 }, (_, before) => emailOf(user, turn - before))
}

export function scoresId(userId: string): string {
  return `the scores of ${userId}`
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

/** The version of all that has one, by what it is known in the observations of the fuzz. */
export type FuzzState = Readonly<Record<string, number>>

/** As the database has it. */
export async function committedState(em: EntityManager): Promise<FuzzState> {
  const state: Record<string, number> = {}
  for (const { id, name, email } of await em.find(User, {})) {
    const { row, scores } = versionsIn(name)
    Object.assign(state, { [id]: row, [scoresId(id)]: scores })
    for (const each of emailsUntil(email)) state[each] = each === email ? 1 : 2
  }
  for (const { id, airScore } of await em.find(AIRScore, {})) state[id] = airScore
  return state
}

/** The same as the cache has it, which reads from the database what it has not. */
export async function cachedState(data: DataAccess, userIds: readonly string[]): Promise<FuzzState> {
  const state: Record<string, number> = {}
  for (const user of await data.cached(userCache).getMany(userIds)) {
    if (user === null) continue
    const { version, scores } = await data.cached(scoresOf).get({ userId: user.id })
    Object.assign(state, { [user.id]: versionsIn(user.name).row, [scoresId(user.id)]: version })
    for (const { id, airScore } of scores) state[id] = airScore
    for (const email of emailsUntil(user.email)) state[email] = (await data.cached(userCache).byEmail(email)) === null ? 2 : 1
  }
  return state
}

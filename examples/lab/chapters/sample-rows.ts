import type { DataAccess } from '@innovateai/data-access'
import { AIRScore, Assessment, User } from '@innovateai/data-access/assessment'
import { DomainEvent } from '@innovateai/data-access/outbox'
import { type EntityManager, UniqueConstraintViolationException } from '@mikro-orm/core'
import type { TableCounts } from '../contract/results.ts'

/** What the scores of the lab have in common. */
const rest = { vrScore: 80, hrScore: 75, synergyScore: 90, ciLower: 55, ciUpper: 95, parameterVersion: 'v1.2' }

/** Adds a score to a user, or to the one with this id, in the unit of work of this entity manager. */
export function addScore(em: EntityManager, user: User | string, airScore: number, occupationCode = '15-1252'): AIRScore {
  const owner = typeof user === 'string' ? em.getReference(User, user) : user
  return em.create(AIRScore, { user: owner, occupationCode, airScore, ...rest })
}

/** The id of the user with this address, who is created where he is missing. */
export async function userCalled(data: DataAccess, email: string, name: string): Promise<string> {
  const found = await data.fork().getRepository(User).byEmail(email)
  if (found !== null) return found.id
  try {
    return await data.unitOfWork(async ({ em }) => em.create(User, { email, name }).id)
  } catch (error) {
    // Another window was faster: the unique index has told us, and now the row is there.
    if (error instanceof UniqueConstraintViolationException) return userCalled(data, email, name)
    throw error
  }
}

export async function countRows(data: DataAccess): Promise<TableCounts> {
  const em = data.fork()
  return { users: await em.count(User), assessments: await em.count(Assessment), scores: await em.count(AIRScore) }
}

/** Empties the tables of the lab: they are in its own database, or in its own schema. */
export async function startAfresh(data: DataAccess): Promise<TableCounts> {
  await data.unitOfWork(async ({ em }) => {
    await em.nativeDelete(DomainEvent, {})
    await em.nativeDelete(User, {}) // assessments and scores go with their users
  })
  const letters = await data.outbox.deadLetters.list({}, { limit: 10_000 })
  if (letters.length > 0) await data.outbox.deadLetters.discard({ ids: letters.map(({ id }) => id) })
  return countRows(data)
}

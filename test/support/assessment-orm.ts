import type { EntityManager, MikroORM, Options } from '@mikro-orm/core'
import { AIRScore } from '../../src/assessment/air-score.ts'
import { Assessment } from '../../src/assessment/assessment.ts'
import { assessmentMigrationsPostgresql } from '../../src/assessment/migrations-postgresql.ts'
import { assessmentMigrationsSqlite } from '../../src/assessment/migrations-sqlite.ts'
import { User } from '../../src/assessment/user.ts'
import { openOrm } from '../../src/database/connection.ts'
import { migrate } from '../../src/database/migrations.ts'
import { openTestDatabase, type TestDialect } from './databases.ts'

/** The assessment module's migrations of each dialect. */
export const assessmentMigrations = { postgresql: assessmentMigrationsPostgresql, sqlite: assessmentMigrationsSqlite } as const

/** An ORM with the assessment module's entities on an empty database of its own. */
export interface TestOrm {
  readonly orm: MikroORM
  readonly url: string
  close(): Promise<void>
}

export async function openAssessmentOrm(dialect: TestDialect, config: Partial<Options> = {}): Promise<TestOrm> {
  const database = await openTestDatabase(dialect)
  const orm = await openOrm({ url: database.url }, { entities: [User, Assessment, AIRScore], ...config })
  return {
    orm,
    url: database.url,
    close: async () => {
      await orm.close()
      await database.close()
    },
  }
}

export async function openMigratedOrm(dialect: TestDialect, config: Partial<Options> = {}): Promise<TestOrm> {
  const opened = await openAssessmentOrm(dialect, config)
  await migrate(opened.orm, assessmentMigrations[dialect])
  return opened
}

/** A user with that many scores and assessments, not flushed yet. */
export function createUser(em: EntityManager, email: string, { scores = 0, assessments = 0 } = {}): User {
  const user = em.create(User, { email, name: `Name of ${email}` })
  for (let index = 0; index < scores; index++) createScore(em, user, 60 + index)
  for (let index = 0; index < assessments; index++) em.create(Assessment, { user, component: `component ${index}` })
  return user
}

export function createScore(em: EntityManager, user: User, airScore: number): AIRScore {
  return em.create(AIRScore, {
    user,
    occupationCode: '15-1252',
    airScore,
    vrScore: 70.25,
    hrScore: 60.5,
    synergyScore: 80.125,
    ciLower: 55.1,
    ciUpper: 88.8,
    parameterVersion: 'v1.2',
  })
}

import type { DataModule } from '../module.ts'
import { AIRScore } from './air-score.ts'
import { AIRScoreCalculated } from './air-score-calculated.ts'
import { Assessment } from './assessment.ts'
import { airScoreCache, latestScore, userCache } from './cache-policies.ts'
import { assessmentMigrationsPostgresql } from './migrations-postgresql.ts'
import { assessmentMigrationsSqlite } from './migrations-sqlite.ts'
import { User } from './user.ts'

/** The assessment platform's data: users, their assessments and AI-R scores. Also the pattern for a module of your own. */
export const assessment: DataModule = {
  name: 'assessment',
  entities: [User, Assessment, AIRScore],
  migrations: { postgresql: assessmentMigrationsPostgresql, sqlite: assessmentMigrationsSqlite },
  events: [AIRScoreCalculated],
  caches: [userCache, airScoreCache, latestScore],
}

/**
 * The module's tables. An application that makes migrations of its own passes them to `schemaGenerator.skipTables`, or its
 * `migration:create` would want to change them.
 */
export const assessmentTables = ['users', 'assessments', 'air_scores'] as const

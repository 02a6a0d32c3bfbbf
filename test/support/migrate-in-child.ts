import { AIRScore } from '../../src/assessment/air-score.ts'
import { Assessment } from '../../src/assessment/assessment.ts'
import { assessmentMigrationsPostgresql } from '../../src/assessment/migrations-postgresql.ts'
import { assessmentMigrationsSqlite } from '../../src/assessment/migrations-sqlite.ts'
import { User } from '../../src/assessment/user.ts'
import { openOrm } from '../../src/database/connection.ts'
import { migrate } from '../../src/database/migrations.ts'

// Migrates the database given as the first argument and prints what ran, as JSON.
const url = process.argv[2] ?? ''
const orm = await openOrm({ url }, { entities: [User, Assessment, AIRScore] })
const list = url.startsWith('sqlite') ? assessmentMigrationsSqlite : assessmentMigrationsPostgresql
console.log(JSON.stringify(await migrate(orm, list)))
await orm.close()

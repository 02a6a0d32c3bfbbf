import { sql as drizzleSql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { bigint, integer, json, pgTable, real, text, timestamp, uuid } from 'drizzle-orm/pg-core'
import { Kysely, PostgresDialect, sql } from 'kysely'
import pg from 'pg'
import { concurrency, contestant, databaseUrl, makeUser, newId, timeUnits } from '../unit/units.ts'

// Peers that write one AIRScore and one DomainEvent in one transaction.
const userId = await makeUser()
const pool = new pg.Pool({ connectionString: databaseUrl, max: Number(concurrency) })

const figures = { air_score: 87.5, vr_score: 80, hr_score: 75, synergy_score: 90, ci_lower: 70, ci_upper: 95 }
const scoreOf = (id) => ({ id, user_id: userId, occupation_code: '15-1252', ...figures, parameter_version: 'v1.2' })
const eventOf = (id) => ({
  id: newId(),
  event_type: 'AIRScoreCalculated',
  aggregate_type: 'AIRScore',
  aggregate_id: id,
  ordering_key: `AIRScore:${id}`,
  bucket: 1,
})
const payloadOf = (id) => ({ userId, airScoreId: id, airScoreValue: 87.5, occupation: '15-1252' })

const database = new Kysely({ dialect: new PostgresDialect({ pool }) })
const kysely = () =>
  database.transaction().execute(async (transaction) => {
    const id = newId()
    const now = new Date()
    const moments = { created_at: now, updated_at: now }
    await transaction
      .insertInto('air_scores')
      .values({ ...scoreOf(id), calculation_metadata: '{}', ...moments })
      .execute()
    const sequence = sql`nextval('domain_events_sequence')`
    const event = { ...eventOf(id), payload: JSON.stringify(payloadOf(id)), headers: '{}', ...moments, sequence }
    await transaction.insertInto('domain_events').values(event).execute()
  })

const moments = { created_at: timestamp({ withTimezone: true }), updated_at: timestamp({ withTimezone: true }) }
const scores = pgTable('air_scores', {
  id: uuid(),
  user_id: uuid(),
  occupation_code: text(),
  ...Object.fromEntries(Object.keys(figures).map((name) => [name, real()])),
  parameter_version: text(),
  calculation_metadata: json(),
  ...moments,
})
const events = pgTable('domain_events', {
  id: uuid(),
  event_type: text(),
  aggregate_type: text(),
  aggregate_id: text(),
  ordering_key: text(),
  bucket: integer(),
  payload: json(),
  headers: json(),
  sequence: bigint({ mode: 'bigint' }),
  ...moments,
})
const orm = drizzle(pool)
const drizzleUnit = () =>
  orm.transaction(async (transaction) => {
    const id = newId()
    const now = new Date()
    const at = { created_at: now, updated_at: now }
    await transaction.insert(scores).values({ ...scoreOf(id), calculation_metadata: {}, ...at })
    const sequence = drizzleSql`nextval('domain_events_sequence')`
    await transaction.insert(events).values({ ...eventOf(id), payload: payloadOf(id), headers: {}, ...at, sequence })
  })

const run = { kysely, drizzle: drizzleUnit }[contestant]
const result = await timeUnits(run)
await pool.end()
console.log(JSON.stringify(result))

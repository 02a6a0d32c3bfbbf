import { createDataAccess } from '@innovateai/data-access'
import { AIRScore, AIRScoreCalculated, assessment } from '@innovateai/data-access/assessment'
import { DomainEvent } from '@innovateai/data-access/outbox'
import { MikroORM } from '@mikro-orm/postgresql'
import pg from 'pg'
import { v7 as uuidv7 } from 'uuid'
import { concurrency, contestant, databaseUrl, makeUser, timeUnits } from './units.ts'

// One AIRScore and one DomainEvent in one transaction.
const userId = await makeUser()
const max = Number(concurrency)
const data = await createDataAccess({ modules: [assessment], database: { url: databaseUrl, pool: { max } } })
const pool = new pg.Pool({ connectionString: databaseUrl, max })
const figures = { airScore: 87.5, vrScore: 80, hrScore: 75, synergyScore: 90, ciLower: 70, ciUpper: 95, parameterVersion: 'v1.2' }
const payloadOf = (airScoreId: string) => ({ userId, airScoreId, airScoreValue: 87.5, occupation: '15-1252' })

const raw = async () => {
  const client = await pool.connect()
  const id = uuidv7()
  await client.query('begin')
  await client.query({
    name: 'score',
    text: `insert into air_scores (id, user_id, occupation_code, air_score, vr_score, hr_score, synergy_score, ci_lower, ci_upper,
      parameter_version, calculation_metadata, created_at, updated_at) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '{}', now(), now())`,
    values: [id, userId, '15-1252', 87.5, 80, 75, 90, 70, 95, 'v1.2'],
  })
  await client.query({
    name: 'event',
    text: `insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket,
      created_at, updated_at, sequence) values ($1, 'AIRScoreCalculated', 'AIRScore', $2, $3, '{}', $4, 1, now(), now(),
      nextval('domain_events_sequence'))`,
    values: [uuidv7(), id, JSON.stringify(payloadOf(id)), `AIRScore:${id}`],
  })
  await client.query('commit')
  client.release()
}

const single = () =>
  pool.query({
    name: 'single',
    text: `with score as (insert into air_scores (id, user_id, occupation_code, air_score, vr_score, hr_score, synergy_score, ci_lower,
        ci_upper, parameter_version, calculation_metadata, created_at, updated_at)
        values ($1, $2, '15-1252', 87.5, 80, 75, 90, 70, 95, 'v1.2', '{}', now(), now()))
      insert into domain_events (id, event_type, aggregate_type, aggregate_id, payload, headers, ordering_key, bucket, created_at,
        updated_at, sequence) values ($3, 'AIRScoreCalculated', 'AIRScore', $4, $5, '{}', $6, 1, now(), now(),
        nextval('domain_events_sequence'))`,
    values: ((id) => [id, userId, uuidv7(), id, JSON.stringify(payloadOf(id)), `AIRScore:${id}`])(uuidv7()),
  })

const row = () =>
  data.unitOfWork(async ({ em }) => void em.create(AIRScore, { user: userId, occupationCode: '15-1252', ...figures }))

const event = () =>
  data.unitOfWork(async ({ record }) => {
    const id = uuidv7()
    record(AIRScoreCalculated, id, payloadOf(id))
  })

const ours = () =>
  data.unitOfWork(async ({ em, record }) => {
    const score = em.create(AIRScore, { user: userId, occupationCode: '15-1252', ...figures })
    record(AIRScoreCalculated, score, payloadOf(score.id))
  })

let sequence = BigInt(Date.now()) * 1000n
// MikroORM by itself, without our extension.
const plain = await MikroORM.init({
  clientUrl: databaseUrl,
  entities: [...(assessment.entities ?? []), DomainEvent] as never[],
  pool: { max },
  ensureDatabase: false,
  contextName: 'plain',
})
const mikroOrm = () =>
  plain.em.fork().transactional(async (em) => {
    const score = em.create(AIRScore, { user: userId, occupationCode: '15-1252', ...figures })
    const now = new Date()
    em.create(DomainEvent, {
      id: uuidv7(),
      eventType: 'AIRScoreCalculated',
      aggregateType: 'AIRScore',
      aggregateId: score.id,
      payload: payloadOf(score.id),
      headers: {},
      orderingKey: `AIRScore:${score.id}`,
      bucket: 1,
      sequence: ++sequence,
      createdAt: now,
      updatedAt: now,
    })
  })

const run = { raw, single, row, event, ours, 'mikro-orm': mikroOrm }[contestant] as () => Promise<unknown>
const figuresOfRun = await timeUnits(run)
await data.close()
await plain.close()
await pool.end()
console.log(JSON.stringify(figuresOfRun))

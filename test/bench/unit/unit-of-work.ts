import { createDataAccess } from '@innovateai/data-access'
import { AIRScore, AIRScoreCalculated, assessment, User } from '@innovateai/data-access/assessment'
import { DomainEvent } from '@innovateai/data-access/outbox'
import pg from 'pg'
import { v7 as uuidv7 } from 'uuid'

// One AIRScore and one DomainEvent in one transaction. Arguments: contestant, database, units, concurrency.
const [contestant = 'ours', databaseUrl = '', units = '1000', concurrency = '1'] = process.argv.slice(2)
const max = Number(concurrency)
const data = await createDataAccess({ modules: [assessment], database: { url: databaseUrl, pool: { max } } })
await data.migrate()
const pool = new pg.Pool({ connectionString: databaseUrl, max })
const userId = await data.unitOfWork(async ({ em }) => em.create(User, { email: `${uuidv7()}@example.com`, name: 'Bench' }).id)
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

const ours = () =>
  data.unitOfWork(async ({ em, record }) => {
    const score = em.create(AIRScore, { user: userId, occupationCode: '15-1252', ...figures })
    record(AIRScoreCalculated, score, payloadOf(score.id))
  })

let sequence = BigInt(Date.now()) * 1000n
const mikroOrm = () =>
  data.fork().transactional(async (em) => {
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

const run = { raw, ours, 'mikro-orm': mikroOrm }[contestant] as () => Promise<void>
const repeat = async (count: number) => {
  let left = count
  const work = async () => {
    while (left-- > 0) await run()
  }
  await Promise.all(Array.from({ length: max }, work))
}
await repeat(Math.min(300, Number(units)))
const cpu = process.cpuUsage()
const started = performance.now()
await repeat(Number(units))
const ms = performance.now() - started
const { user, system } = process.cpuUsage(cpu)
await data.close()
await pool.end()
console.log(JSON.stringify({ perSecond: (Number(units) / ms) * 1000, cpuMsPerOperation: (user + system) / 1000 / Number(units) }))

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDataAccess, type PoolFigures } from '@innovateai/data-access'
import { Assessment, assessment, User } from '@innovateai/data-access/assessment'
import { connect, removeUsers } from './support/connect.ts'
import { chapter, ms, shown, step, table } from './support/print.ts'

const data = await connect({ max: 10, acquireTimeoutMs: 5000 })
chapter('Chapter 2 · Connectivity and pooling')
await data.migrate()
await removeUsers(data, '@pooling.example')

step('Without options: SQLite in memory, which ends with its data access')
const inMemory = await createDataAccess({ modules: [assessment] })
await inMemory.migrate()
console.log(`created ${await createUsers(inMemory)}; on ${inMemory.dialect}, ${await inMemory.fork().count(User)} users`)
await inMemory.close()

step('With a file: the next data access finds what this one wrote')
const folder = mkdtempSync(join(tmpdir(), 'example-'))
const database = { url: `sqlite:${join(folder, 'users.db')}` }
const first = await createDataAccess({ modules: [assessment], database })
await first.migrate()
console.log(`created ${await createUsers(first)}; then closed`)
await first.close()
const second = await createDataAccess({ modules: [assessment], database })
console.log(`opened again: ${await second.fork().count(User)} users`)
await second.close()
rmSync(folder, { recursive: true })

step(`Health: does it answer, and how fast? (${data.dialect})`)
console.log(`created ${await createUsers(data)}`)
const health = await data.health()
table(
  ['part', 'ok', 'latency'],
  [
    ['database', String(health.database.ok), ms(health.database.latencyMs)],
    ['cache', String(health.cache?.ok), ms(health.cache?.latencyMs ?? 0)],
  ],
)

step('Throughput Θ = number of requests / total time, and the median of the live pool figures')
// A request is one unit of work: it finds a user, stores an assessment and commits.
await measure(50, 4) // the first requests compile and connect
const rows = []
for (const concurrency of [1, 4, 16, 64]) {
  const { seconds, pool } = await measure(400, concurrency)
  const { inUse, max, waiting } = pool
  const use = [`${inUse} of ${max}`, `${(waiting / max).toFixed(1)}×`]
  rows.push([concurrency, `${(400 / seconds).toFixed(0)} req/s`, ms((seconds * 1000 * concurrency) / 400), ...use])
}
table(['concurrent requests', 'Θ', 'time per request', 'connections in use', 'waiting per connection'], rows)
const { pool } = await data.stats()
console.log(`afterwards: ${pool.waiting} requests wait`)
console.log(
  data.dialect === 'sqlite'
    ? 'SQLite has one connection: concurrent requests take turns. A PostgreSQL in DATABASE_URL shows a pool at work.'
    : 'Requests share at most 10 connections: Θ grows until they are all busy, then further requests wait their turn.',
)

await removeUsers(data, '@pooling.example')
await data.close()
try {
  data.fork()
} catch (error) {
  console.log(`after close(): ${(error as Error).message}`)
}
shown('a URL moves a program from memory to a file to PostgreSQL, and a pool makes requests wait instead of fail.')

async function createUsers(access: typeof data): Promise<string> {
  return access.unitOfWork(async ({ em }) => {
    const users = [
      em.create(User, { email: 'alex@pooling.example', name: 'Alex Smith' }),
      em.create(User, { email: 'jane@pooling.example', name: 'Jane Doe' }),
    ]
    return users.map(({ name }) => name).join(' and ')
  })
}

async function measure(requests: number, concurrency: number): Promise<{ seconds: number; pool: PoolFigures }> {
  const seen: PoolFigures[] = []
  let left = requests
  const client = async () => {
    while (left-- > 0) {
      await data.unitOfWork(async ({ em }) => {
        const user = await em.getRepository(User).byEmail('alex@pooling.example')
        if (user !== null) em.create(Assessment, { user, component: 'load' })
        seen.push((await data.stats()).pool)
      })
    }
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: concurrency }, client))
  const seconds = (performance.now() - start) / 1000
  const byUse = seen.toSorted((one, other) => one.inUse + one.waiting - (other.inUse + other.waiting))
  return { seconds, pool: byUse[Math.floor(byUse.length / 2)] as PoolFigures }
}

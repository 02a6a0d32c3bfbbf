import { consoleLogger, type QueryScope, withQueries } from '@innovateai/data-access'
import { AIRScore, User } from '@innovateai/data-access/assessment'
import { connect, removeUsers } from './support/connect.ts'
import { chapter, ms, short, shown, step, table } from './support/print.ts'

const userCount = 25
const scoresEach = 4
const ours = { email: { $like: '%@n-plus-one.example' } }

const data = await connect()
chapter('Chapter 3 · Repositories and N+1')
await data.migrate()
await removeUsers(data, '@n-plus-one.example')
const [firstId = ''] = await createUsersWithScores()

step(`${userCount} users and the scores of each, loaded in four ways`)
const inLoop = await bestOfThree(async () => {
  const users = await data.fork().find(User, ours)
  for (const user of users) await user.scores.init() // one query for each user
  return users
})
const selectIn = await bestOfThree(() => data.fork().find(User, ours, { populate: ['scores'], strategy: 'select-in' }))
const joined = await bestOfThree(() => data.fork().find(User, ours, { populate: ['scores'], strategy: 'joined' }))
const late = await bestOfThree(async () => {
  const em = data.fork()
  return em.populate(await em.find(User, ours), ['scores']) // for users that are already there
})
table(
  ['way', 'users', 'scores', 'queries', 'time', 'against N+1'],
  [
    row('scores.init() in a loop: N+1', inLoop),
    row("populate: ['scores'], select-in", selectIn),
    row("populate: ['scores'], joined", joined),
    row("em.populate(users, ['scores'])", late),
  ],
)

step('The same as SQL: one text for all queries of one shape')
table(
  ['way', 'queries', 'SQL'],
  [
    ...inLoop.queries.shapes.map(({ count, sql }) => ['N+1', count, short(sql)]),
    ...selectIn.queries.shapes.map(({ count, sql }) => ['select-in', count, short(sql)]),
    ...joined.queries.shapes.map(({ count, sql }) => ['joined', count, short(sql)]),
  ],
)

step("The guard: withQueries(…, { nPlusOne: 'warn' }) names relation, line and cure; in tests use 'throw'")
const logger = { ...consoleLogger, warn: (message: string) => console.log(message.replace(`${process.cwd()}/`, '')) }
await withQueries(
  async () => {
    for (const user of await data.fork().find(User, ours)) await user.scores.init()
  },
  { nPlusOne: 'warn', logger },
)

step("The seed's repository: one user with all scores")
await withQueries(async (queries) => {
  const user = await data.fork().getRepository(User).getWithScores(firstId)
  console.log(`${user?.name} with ${user?.scores.length} scores in ${queries.count} queries, however many scores there are`)
  const latest = await data.fork().getRepository(AIRScore).latestFor(firstId)
  console.log(`latestFor() gives the newest of them, ${latest?.airScore}, in one query more`)
})

step('Pages by key: a deep page costs as much as the first one')
const pages = []
let after: string | null = null
do {
  const repository = data.fork().getRepository(User)
  const next = await bestOfThree(() => repository.page({ first: 10, after, where: ours, orderBy: { name: 'asc' } }))
  const { items, nextCursor } = next.result
  pages.push([pages.length + 1, `${items[0]?.name} … ${items.at(-1)?.name}`, items.length, next.queries.count, ms(next.time)])
  after = nextCursor
} while (after !== null)
table(['page', 'users', 'items', 'queries', 'time'], pages)

await removeUsers(data, '@n-plus-one.example')
await data.close()
const [before, cured] = [inLoop.queries.count, selectIn.queries.count]
shown(`${before} queries became ${cured}, or one with a join, and the line that needed the cure was named.`)

async function createUsersWithScores(): Promise<string[]> {
  return data.unitOfWork(async ({ em }) => {
    const users = Array.from({ length: userCount }, (_, index) => {
      const number = String(index + 1).padStart(2, '0')
      return em.create(User, { email: `user-${number}@n-plus-one.example`, name: `User ${number}` })
    })
    const rest = { vrScore: 80, hrScore: 75, synergyScore: 90, ciLower: 55, ciUpper: 95, parameterVersion: 'v1.2' }
    for (const user of users) {
      for (let number = 1; number <= scoresEach; number++) {
        em.create(AIRScore, { user, occupationCode: '15-1252', airScore: 60 + number, ...rest })
      }
    }
    return users.map(({ id }) => id)
  })
}

interface Measured<Result> {
  readonly result: Result
  readonly queries: QueryScope
  readonly time: number
}

async function bestOfThree<Result>(load: () => Promise<Result>): Promise<Measured<Result>> {
  const runs: Measured<Result>[] = []
  for (let run = 1; run <= 3; run++) {
    const start = performance.now()
    runs.push(await withQueries(async (queries) => ({ result: await load(), queries, time: performance.now() - start })))
  }
  return runs.reduce((best, run) => (run.time < best.time ? run : best))
}

function row(way: string, { result, queries, time }: Measured<readonly User[]>): (string | number)[] {
  const scores = result.reduce((sum, user) => sum + user.scores.length, 0)
  return [way, result.length, scores, queries.count, ms(time), `${(inLoop.time / time).toFixed(1)}× as fast`]
}

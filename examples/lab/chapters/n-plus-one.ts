import { type DataAccess, hasErrorCode, type QueryScope, withQueries } from '@innovateai/data-access'
import { User } from '@innovateai/data-access/assessment'
import type { FetchComparison, FetchCost, TableCounts } from '../contract/results.ts'
import { addScore, countRows } from './sample-rows.ts'

const ours = { email: { $like: 'reader-%@innovateai.dev' } }
/** Rows that one unit of work writes: enough to be quick, few enough to keep others waiting for a moment only. */
const usersAtOnce = 100

/** Makes sure that there are so many users, and adds three scores to each of them. */
export async function addSampleScores(data: DataAccess, count: number): Promise<TableCounts> {
  await createReaders(data, count)
  const ids = (await readers(data, count)).map(({ id }) => id)
  for (let from = 0; from < ids.length; from += usersAtOnce) {
    // #region add-scores
    await data.unitOfWork(async ({ em }) => {
      for (const id of ids.slice(from, from + usersAtOnce)) for (const airScore of [71.5, 82.25, 93]) addScore(em, id, airScore)
    })
    // #endregion
  }
  return countRows(data)
}

/** Fetches the same users and scores in both ways, and asks the guard about the worse one. */
export async function fetchBothWays(data: DataAccess, count: number): Promise<FetchComparison> {
  await createReaders(data, count)
  await fetchEagerly(data, count) // the first query of a shape is compiled: neither way pays for that
  const eager = await measure(() => fetchEagerly(data, count))
  const loop = await measure(() => fetchInLoop(data, count))
  return { loop, eager, guard: await askGuard(data, count) }
}

// #region loop
async function fetchInLoop(data: DataAccess, limit: number): Promise<User[]> {
  const users = await data.fork().find(User, ours, { limit, orderBy: { email: 'asc' } })
  for (const user of users) await user.scores.init() // one query for each user
  return users
}
// #endregion

// #region eager
async function fetchEagerly(data: DataAccess, limit: number): Promise<User[]> {
  return data.fork().find(User, ours, { limit, orderBy: { email: 'asc' }, populate: ['scores'], strategy: 'select-in' })
}
// #endregion

// #region guard
async function askGuard(data: DataAccess, count: number): Promise<string | undefined> {
  try {
    await withQueries(() => fetchInLoop(data, Math.min(count, 5)), { nPlusOne: 'throw' })
    return undefined
  } catch (error) {
    if (hasErrorCode(error, 'N_PLUS_ONE')) return (error as Error).message.replaceAll(`${process.cwd()}/`, '')
    throw error
  }
}
// #endregion

async function measure(fetch: () => Promise<User[]>): Promise<FetchCost> {
  return withQueries(async (queries) => {
    const start = performance.now()
    const users = await fetch()
    return cost(users, queries, performance.now() - start)
  })
}

function cost(users: readonly User[], { count, shapes, queries }: QueryScope, milliseconds: number): FetchCost {
  return {
    users: users.length,
    scores: users.reduce((sum, user) => sum + user.scores.length, 0),
    queries: count,
    milliseconds,
    shapes: shapes.map((shape) => ({ sql: withoutLongLists(shape.sql), count: shape.count })),
    statements: queries.map(({ sql, params, rows, durationMs }) => {
      const text = JSON.stringify(params ?? [])
      return {
        sql: withoutLongLists(sql),
        params: text.length > 160 ? `${text.slice(0, 160)}…` : text,
        rows: rows ?? 0,
        durationMs,
      }
    }),
  }
}

/** A list of five hundred question marks tells no more than its length. */
function withoutLongLists(sql: string): string {
  return sql.replaceAll(/\?(?:, \?){7,}/g, (list) => `?, … ${list.split(',').length} in all`)
}

async function readers(data: DataAccess, limit: number): Promise<User[]> {
  return data.fork().find(User, ours, { limit, orderBy: { email: 'asc' } })
}

async function createReaders(data: DataAccess, count: number): Promise<void> {
  const there = new Set((await readers(data, 500)).map(({ email }) => email))
  const wanted = Array.from({ length: count }, (_, index) => `reader-${String(index + 1).padStart(3, '0')}@innovateai.dev`)
  const missing = wanted.filter((email) => !there.has(email))
  if (missing.length === 0) return
  await data.unitOfWork(async ({ em }) => {
    for (const email of missing) {
      const user = em.create(User, { email, name: `Reader ${email.slice(7, 10)}` })
      addScore(em, user, 65)
    }
  })
}

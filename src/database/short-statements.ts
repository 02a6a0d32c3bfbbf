import { AsyncLocalStorage } from 'node:async_hooks'
import { boundCursor, isCursor } from './cursors.ts'
import { type PgClient, plainText } from './pg-client.ts'

/** PostgreSQL ends a statement after this part of the limit, so that its refusal comes while somebody still waits. */
const serverShare = 0.9

/** So much longer than the server may take for a statement we wait for its answer, in ms. */
const graceMs = 5000

/** Statements that take time. Those that begin and end transactions go as they are. */
const bounded = /^\s*(select|with|insert|update|delete)\b/i

/** What `setTimeout` takes. */
const longestTimerMs = 2_147_483_647

interface Limit {
  readonly ms: number | undefined
}

/** Under which limit statements are asked; or whether there is none by now. */
const limits = new AsyncLocalStorage<Limit | { lifted: boolean }>()

/** `undefined` for what the connection has of its own. */
function currentLimit(): Limit | 'none' | undefined {
  const limit = limits.getStore()
  if (limit === undefined || 'ms' in limit) return limit
  return limit.lifted ? 'none' : undefined
}

/**
 * Runs work whose statements PostgreSQL plans without its just-in-time compiler: what reads few of many rows by an index it takes for
 * long, by its estimates, and compiles for half a second each time what runs for some milliseconds.
 *
 * Each must be answered within so many milliseconds, if that is given. The server ends a statement a little earlier, with the SQLSTATE
 * 57014, so that none that was given up goes on there, and as soon a transaction in which nothing more is asked: a process that stands
 * still in it, or a machine that is lost, would keep its locks for as long as its connection lives. A connection on which no answer came
 * is destroyed: behind a network that swallows packets it would be waited for until the system gives it up, after a quarter of an
 * hour. The statement rejects with the code `ETIMEDOUT`, and may have been carried out. SQLite answers at once.
 */
export function withShortStatements<Result>(ms: number | undefined, work: () => Promise<Result>): Promise<Result> {
  return limits.run({ ms }, work)
}

/**
 * Runs work whose answers are waited for as long as they take, whatever `statement_timeout` and `query_timeout` the connection has.
 *
 * @param work calls the function that it is given before the first of them.
 */
export function withLongStatements<Result>(work: (lift: () => void) => Promise<Result>): Promise<Result> {
  const limit = { lifted: false }
  return limits.run(limit, () =>
    work(() => {
      limit.lifted = true
    }),
  )
}

/**
 * Makes a client take no `query_timeout` of its own for a statement that may take long, and none for a whole stream, whose reads are
 * bounded instead: first of all, since others may let statements wait.
 */
export function liftQueryTimeout(client: PgClient): void {
  if (!client.connectionParameters?.query_timeout) return
  const query = client.query.bind(client)
  client.query = (...args) => {
    const [text, values, ...rest] = args
    if (isCursor(text)) {
      const cursor = query(...args)
      text.callback?.()
      return cursor
    }
    if (currentLimit() !== 'none' || typeof text !== 'string') return query(...args)
    return query({ text, values, query_timeout: longestTimerMs }, ...rest)
  }
}

/**
 * Makes a client of the pool keep the limit under which it is asked. Without one it waits five seconds longer than the
 * `statement_timeout` of its connection, where there is one: a server that has not even refused by then is out of reach.
 */
export function limitAnswers(client: PgClient): void {
  const query = client.query.bind(client)
  const ownMs = client.connectionParameters?.statement_timeout || Number.POSITIVE_INFINITY
  const unreadMs = client.connectionParameters?.query_timeout || Number.POSITIVE_INFINITY
  const bound = (answer: unknown, ms: number) => {
    if (!(answer instanceof Promise) || ms > longestTimerMs) return answer
    const expiry = setTimeout(() => {
      const message = `PostgreSQL did not answer within ${ms} ms, so the connection was given up; see that it and the network are up`
      client.connection?.stream?.destroy(Object.assign(new Error(message), { code: 'ETIMEDOUT' }))
    }, ms)
    return answer.finally(() => clearTimeout(expiry))
  }
  client.query = (...args) => {
    const limit = currentLimit()
    if (limit === 'none') return query(...args)
    const ms = limit?.ms ?? ownMs + graceMs
    if (isCursor(args[0])) boundCursor(args[0], (answer) => bound(answer, Math.min(ms, unreadMs)))
    const answer =
      limit === undefined ? query(...args) : askShortly(limit.ms && Math.floor(limit.ms * serverShare), ownMs, query, args)
    return bound(answer, ms)
  }
}

/**
 * Asks with settings for the statement's own transaction, in one message with it: those of the session would stay with
 * whoever a transaction pooler gives the connection next.
 */
function askShortly(ms: number | undefined, ownMs: number, query: PgClient['query'], args: readonly unknown[]): unknown {
  const text = plainText(args)
  if (text === undefined || !bounded.test(text)) return query(...args)
  const limits =
    ms === undefined ? [] : [`statement_timeout = ${Math.min(ownMs, ms)}`, `idle_in_transaction_session_timeout = ${ms}`]
  const settings = ['jit = off', ...limits].map((setting) => `set local ${setting};\n`)
  const answer = query(`${settings.join('')}${text}`, [])
  return answer instanceof Promise ? answer.then((results: unknown[]) => results.at(-1)) : answer
}

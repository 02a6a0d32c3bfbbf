import { AsyncLocalStorage } from 'node:async_hooks'

/** The parts of a `pg` client that are needed here. */
interface PgClient {
  readonly connection?: { readonly stream?: { destroy(error: Error): void } }
  query(...args: unknown[]): unknown
}

const limits = new AsyncLocalStorage<number>()

/**
 * Runs work each of whose statements PostgreSQL must answer within so many milliseconds. A connection on which no answer came is
 * destroyed: behind a network that swallows packets it would be waited for until the system gives it up, after a quarter of an
 * hour. The statement rejects with the code `ETIMEDOUT`, and may have been carried out. SQLite answers at once.
 */
export function withAnswersWithin<Result>(ms: number, work: () => Promise<Result>): Promise<Result> {
  return limits.run(ms, work)
}

/** Makes a client of the pool keep the limit under which it is asked. */
export function limitAnswers(client: PgClient): void {
  const query = client.query.bind(client)
  client.query = (...args) => {
    const ms = limits.getStore()
    const answer = query(...args)
    if (ms === undefined || !(answer instanceof Promise)) return answer
    const expiry = setTimeout(() => {
      const message = `PostgreSQL did not answer within ${ms} ms, so the connection was given up; see that it and the network are up`
      client.connection?.stream?.destroy(Object.assign(new Error(message), { code: 'ETIMEDOUT' }))
    }, ms)
    return answer.finally(() => clearTimeout(expiry))
  }
}

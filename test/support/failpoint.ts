import { createRequire } from 'node:module'
import pg from 'pg'

/** A step at which a child process ends or stands still: at a statement that its driver sends. */
export interface Failpoint {
  /** Part of the statement's text, as a regular expression. */
  readonly statement: string
  /** `sent`: the server may carry it out, but nobody waits for the answer; the same as `after` on SQLite. */
  readonly when: 'before' | 'sent' | 'after'
  /** At the how manieth of these statements; of those that read, only the ones that brought rows count. Default 1. */
  readonly hit?: number
  /** What it sends itself. Default: SIGKILL; with SIGSTOP it stands still, and its connections stay open. */
  readonly signal?: NodeJS.Signals
}

interface SqliteStatement {
  readonly reader: boolean
  all(...params: unknown[]): unknown[]
  run(...params: unknown[]): unknown
}

/** Arms a failpoint in this process, below all code of ours: in the drivers. Once for the life of the process. */
export function armFailpoint({ statement, when, hit = 1, signal = 'SIGKILL' }: Failpoint): void {
  const pattern = new RegExp(statement, 'is')
  let hits = 0
  const die = () => process.kill(process.pid, signal)
  const count = (rows: readonly unknown[] | undefined) => {
    if (rows?.length !== 0 && ++hits === hit) die()
  }

  const { query } = pg.Client.prototype
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    const [first] = args
    const text = typeof first === 'string' ? first : ((first as { text?: string } | undefined)?.text ?? '')
    if (!pattern.test(text)) return Reflect.apply(query, this, args)
    if (when === 'before') count(undefined)
    const result = Reflect.apply(query, this, args)
    if (when === 'sent' && ++hits === hit) setImmediate(die)
    if (when === 'after') result.then((answer: pg.QueryResult | pg.QueryResult[]) => count(rowsRead([answer].flat().at(-1))))
    return result
  } as typeof query

  const Database = createRequire(createRequire(import.meta.url).resolve('@mikro-orm/sqlite'))('better-sqlite3')
  const { prepare } = Database.prototype
  Database.prototype.prepare = function (text: string) {
    const prepared = prepare.call(this, text) as SqliteStatement
    if (!pattern.test(text)) return prepared
    for (const method of ['all', 'run'] as const) {
      const run = prepared[method]
      Object.defineProperty(prepared, method, {
        value: (...params: unknown[]) => {
          if (when === 'before') count(undefined)
          const result = run.apply(prepared, params)
          if (when !== 'before') count(Array.isArray(result) && /^\s*(select|with)/i.test(text) ? result : undefined)
          return result
        },
      })
    }
    return prepared
  }
}

/** What the last statement of a message read; `undefined` when it wrote. */
function rowsRead(answer: pg.QueryResult | undefined): readonly unknown[] | undefined {
  return answer?.command === 'SELECT' ? answer.rows : undefined
}

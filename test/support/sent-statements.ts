import { createRequire } from 'node:module'
import pg from 'pg'

/** A statement as a driver of this process sent it. */
export interface SentStatement {
  readonly text: string
  /** How many rows came back; `undefined` until they did, and when it failed. */
  rows: number | undefined
}

/** What the drivers of this process have sent, in order. */
export interface SentStatements {
  readonly sent: SentStatement[]
  /** Listens no more. */
  end(): void
}

/** Lists each statement from now on, on both databases. Begin before a data access is opened: connections keep what they were made of. */
export function listStatements(): SentStatements {
  const sent: SentStatement[] = []
  const note = (text: string) => {
    const statement: SentStatement = { text: text.trim(), rows: undefined }
    sent.push(statement)
    return statement
  }

  const { query } = pg.Client.prototype
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    const [first] = args
    const message = typeof first === 'string' ? first : ((first as { text?: string } | undefined)?.text ?? '')
    // One message may hold several, with its settings ahead.
    const statements = message.split(/\n;|;\s*\n/).map((text) => (/^\s*set local /.test(text) ? undefined : note(text)))
    const result = Reflect.apply(query, this, args)
    if (result instanceof Promise) result.then((answer) => noteRows(statements, [answer].flat()), ignore)
    return result
  } as typeof query

  const Database = createRequire(createRequire(import.meta.url).resolve('@mikro-orm/sqlite'))('better-sqlite3')
  const { prepare } = Database.prototype
  Database.prototype.prepare = function (text: string) {
    const prepared = prepare.call(this, text)
    for (const method of ['all', 'run'] as const) {
      const run = prepared[method]
      const value = (...params: unknown[]) => {
        const statement = note(text)
        const result: unknown = run.apply(prepared, params)
        statement.rows = Array.isArray(result) ? result.length : 0
        return result
      }
      Object.defineProperty(prepared, method, { value })
    }
    return prepared
  }

  return {
    sent,
    end: () => {
      pg.Client.prototype.query = query
      Database.prototype.prepare = prepare
    },
  }
}

function noteRows(statements: readonly (SentStatement | undefined)[], answers: readonly pg.QueryResult[]): void {
  for (const [index, statement] of statements.entries()) {
    if (statement !== undefined) statement.rows = answers[index]?.rows.length ?? 0
  }
}

/** Whoever sent it hears of its failure. */
function ignore(): void {}

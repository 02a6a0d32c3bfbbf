import { DefaultLogger } from '@mikro-orm/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AIRScore } from '../../src/assessment/air-score.ts'
import { User } from '../../src/assessment/user.ts'
import { type QueryScope, withQueries } from '../../src/database/query-scope.ts'
import { watchQueries } from '../../src/database/query-watch.ts'
import { runSql } from '../../src/database/sql.ts'
import { createUser, openMigratedOrm, type TestOrm } from '../support/assessment-orm.ts'
import { dialects } from '../support/databases.ts'

describe.each(dialects)('a query scope on %s', (dialect) => {
  let opened: TestOrm
  let ids: string[]
  const fork = () => opened.orm.em.fork()
  beforeAll(async () => {
    opened = await openMigratedOrm(dialect)
    watchQueries(opened.orm)
    const em = fork()
    ids = [0, 1, 2].map((index) => createUser(em, `user${index}@x.y`, { scores: 2 }).id)
    await em.flush()
  })
  afterAll(() => opened.close())

  it('lists each query with shape, parameters, rows and time', async () => {
    const result = await withQueries(async (queries) => {
      await fork().find(User, { name: 'nobody', yearsExperience: { $gt: 5 } })
      await fork().find(AIRScore, { user: ids[0] ?? '' })
      return queries
    })
    expect(result.count).toBe(2)
    const [first, second] = result.queries
    expect(first?.sql).toMatch(/^select .* from .users. .* where .*name. = \? and .*years_experience. > \?$/)
    expect(first).toMatchObject({ params: ['nobody', 5], rows: 0, failed: false })
    expect(second).toMatchObject({ rows: 2, failed: false })
    expect(second?.durationMs).toBeGreaterThan(0)
    expect(result.durationMs).toBeCloseTo((first?.durationMs ?? 0) + (second?.durationMs ?? 0))
  })

  it('returns what the block returns, and throws what it throws', async () => {
    expect(await withQueries(async () => 'result')).toBe('result')
    await expect(withQueries(() => Promise.reject(new Error('mine')), { nPlusOne: 'throw' })).rejects.toThrow('mine')
  })

  it('groups queries of one shape, the most frequent first', async () => {
    const queries = await withQueries(async (scope) => {
      await fork().findOne(User, { email: 'user0@x.y' })
      for (const id of ids) await fork().findOne(User, id)
      return scope
    })
    expect(queries.shapes.map(({ count, rows }) => [count, rows])).toEqual([
      [3, 3],
      [1, 1],
    ])
  })

  it('lists what begins and ends transactions apart', async () => {
    const queries = await withQueries(async (scope) => {
      await fork().transactional(async (em) => {
        await em.findOneOrFail(User, ids[0] ?? '')
        await em.transactional(async (inner) => {
          const user = await inner.findOneOrFail(User, ids[0] ?? '')
          user.name = `${user.name}.`
        })
      })
      await expect(fork().transactional(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
      return scope
    })
    expect(queries.queries.map(({ sql }) => sql.split(' ')[0])).toEqual(['select', 'update'])
    expect(queries.transactions.map(({ sql }) => sql.split(' ')[0])).toEqual([
      'begin',
      'savepoint',
      'release',
      'commit',
      'begin',
      'rollback',
    ])
  })

  it('sees writes, SQL that goes past the entity manager, and failures', async () => {
    const queries = await withQueries(async (scope) => {
      await fork().nativeUpdate(User, { id: { $in: ids } }, { educationLevel: 'phd' })
      await runSql(fork(), 'select id from users where email = ?', ['user0@x.y'])
      await runSql(fork(), 'select nonsense from users').catch(() => {})
      return scope
    })
    expect(queries.queries.map(({ rows, failed }) => [rows, failed])).toEqual([
      [3, false],
      [1, false],
      [undefined, true],
    ])
  })

  it('scopes that run at once do not see each other, and nested ones count in both', async () => {
    const run = async (times: number) => {
      let inner: QueryScope | undefined
      const outer = await withQueries(async (scope) => {
        for (let index = 0; index < times; index++) {
          await fork().count(User)
          if (index === 0)
            inner = await withQueries(async (nested) => {
              await fork().count(AIRScore)
              return nested
            })
        }
        return scope
      })
      return [outer.count, inner?.count]
    }
    expect(await Promise.all([run(2), run(5), run(3)])).toEqual([
      [3, 1],
      [6, 1],
      [4, 1],
    ])
  })

  it('stays as it is when its block has ended', async () => {
    let late: Promise<unknown> | undefined
    const queries = await withQueries(async (scope) => {
      await fork().count(User)
      late = new Promise((resolve) => setImmediate(resolve)).then(() => fork().count(User))
      return scope
    })
    await late
    expect(queries.count).toBe(1)
  })

  it('sees the shape although the debug mode prints the values', async () => {
    const printed: string[] = []
    const debugging = await openMigratedOrm(dialect, { debug: true, logger: (message) => printed.push(message), colors: false })
    watchQueries(debugging.orm)
    const queries = await withQueries(async (scope) => {
      await debugging.orm.em.fork().find(User, { email: 'printed@x.y' })
      return scope
    })
    await debugging.close()
    expect(printed.some((line) => line.includes('printed@x.y'))).toBe(true)
    expect(queries.queries[0]?.sql).not.toContain('printed@x.y')
    expect(queries.queries[0]?.params).toEqual(['printed@x.y'])
  })

  it('leaves the logger and the onQuery of the application at work', async () => {
    const seen: string[] = []
    class OwnLogger extends DefaultLogger {
      override logQuery(context: Parameters<DefaultLogger['logQuery']>[0]): void {
        seen.push(`logged ${context.query ?? ''}`)
      }
    }
    const adopted = await openMigratedOrm(dialect, {
      loggerFactory: (options) => new OwnLogger(options),
      onQuery: (sql) => {
        seen.push('asked')
        return `${sql} -- marked`
      },
    })
    watchQueries(adopted.orm)
    seen.length = 0
    const queries = await withQueries(async (scope) => {
      await adopted.orm.em.fork().count(User)
      return scope
    })
    await adopted.close()
    expect(seen).toEqual(['asked', expect.stringMatching(/^logged .* -- marked$/)])
    expect(queries.queries[0]?.sql).toContain('-- marked')
  })

  it.each([[{ nPlusOne: 'sometimes' }], [{ threshold: 1 }], [{ threshold: 2.5 }]])(
    'the options %o are refused',
    async (options) => {
      await expect(withQueries(async () => {}, options as object)).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    },
  )
})

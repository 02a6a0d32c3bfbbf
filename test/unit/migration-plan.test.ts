import type { MigrationObject } from '@mikro-orm/core'
import { describe, expect, it } from 'vitest'
import { assessment } from '../../src/assessment/assessment-module.ts'
import { cacheTables } from '../../src/cache/tables.ts'
import { planMigrations } from '../../src/database/migration-plan.ts'
import { outboxTables } from '../../src/outbox/store/tables.ts'

const list = ['c', 'a', 'b'].map((name) => ({ name }) as MigrationObject)
const plan = (executed: string[], options = {}) => planMigrations(list, executed, options).map(({ name }) => name)

describe('the plan of migrations', () => {
  it.each([
    ['everything in the order of the list', [], {}, ['c', 'a', 'b']],
    ['only what has not run', ['c'], {}, ['a', 'b']],
    ['what was skipped before, too', ['a'], {}, ['c', 'b']],
    ['up to and with the one asked for', [], { to: 'a' }, ['c', 'a']],
    ['nothing when all has run', ['c', 'a', 'b'], {}, []],
    ['nothing for what others ran', ['c', 'a', 'b', 'theirs'], {}, []],
    ['down: the newest one', ['c', 'a', 'b'], { direction: 'down' }, ['b']],
    ['down: what ran last, wherever it stands in the list', ['c', 'b', 'a'], { direction: 'down' }, ['a']],
    ['down: what ran after the one to keep', ['b', 'c', 'a'], { direction: 'down', to: 'c' }, ['a']],
    ['down: nothing of what others ran', ['c', 'a', 'theirs'], { direction: 'down', to: 'c' }, ['a']],
    ['down: what follows the one to keep, newest first', ['c', 'a', 'b'], { direction: 'down', to: 'c' }, ['b', 'a']],
    ['down: all', ['c', 'a', 'b'], { direction: 'down', to: 0 }, ['b', 'a', 'c']],
    ['down: nothing where nothing ran', [], { direction: 'down', to: 0 }, []],
  ])('holds %s', (_what, executed, options, expected) => {
    expect(plan(executed, options)).toEqual(expected)
  })

  it('refuses an unknown name, and 0 upwards', () => {
    expect(() => plan([], { to: 'nope' })).toThrow(/no migration "nope".*c, a, b/)
    expect(() => plan([], { to: 0 })).toThrow(/direction "down"/)
  })

  it('refuses to revert what lies under a migration that it does not know, and what follows one that has not run', () => {
    expect(() => plan(['c', 'a', 'theirs'], { direction: 'down' })).toThrow(/"theirs", is in no list/)
    expect(() => plan(['c'], { direction: 'down', to: 'a' })).toThrow(/"a" has not run/)
  })

  it.each(Object.entries({ assessment, outboxTables, cacheTables }))(
    'has the same steps on both dialects: %s',
    (_which, module) => {
      const { postgresql = [], sqlite = [] } = module.migrations ?? {}
      expect(sqlite).not.toEqual([])
      expect(sqlite.map(({ name }) => name)).toEqual(postgresql.map(({ name }) => name))
    },
  )
})
